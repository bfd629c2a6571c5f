"""`retrieval retrain`: the chain from new events to a version that is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace, table
from retrieval.cli.rows import moment, plain
from retrieval.cli.times import read_moment

if TYPE_CHECKING:
    from rich.console import Console

AsOfOption = Annotated[
    str | None,
    typer.Option(
        "--as-of", metavar="TIME", help="Read the events before this moment only (ISO, UTC); now if not given."
    ),
]


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    group = typer.Typer(
        help="Retrain by itself: new events, gates, a new version, its index, roll-out.", no_args_is_help=True
    )
    group.command("run")(run)
    group.command("plan")(plan)
    group.command("list")(list_runs)
    group.command("schedule")(schedule)
    app.add_typer(group, name="retrain")


def run(
    *,
    as_of: AsOfOption = None,
    force: Annotated[
        str | None,
        typer.Option("--force", metavar="REASON", help="Go on past gates that refuse; the reason is recorded."),
    ] = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the whole chain: events, histories, gates, training, evaluation, index, roll-out, collection.

    What was done of the same inputs is found, not done again; killed anywhere, the next call goes on there. What a gate
    refuses stays in the registry and does not go live: the exit status is 8 then.

    Example: `retrieval retrain run --as-of 2026-03-01T06:00`
    """
    from retrieval.workflows.retrain.chain import run_retrain

    opened = open_workspace(workspace, overrides)
    outcome = run_retrain(
        opened,
        as_of_us=read_moment("--as-of", as_of),
        force=_reason(force),
        say=lambda line: typer.echo(line, err=True),
        show=not as_json,
    )
    row = outcome.run
    result = plain(row) | {
        "steps": [{"name": one.name, "found": one.found, "seconds": round(one.seconds, 2)} for one in outcome.steps]
    }

    def show(console: Console) -> None:
        lines: list[list[Any]] = [
            [one.name, "found" if one.found else "done", round(one.seconds, 1)] for one in outcome.steps
        ]
        console.print(table(f"Retraining {row.id} of {row.model}: {row.state}", ["step", "", "seconds"], lines))
        console.print(f"{row.note}; began {moment(row.started_at)}, ended {moment(row.finished_at)}")

    emit(result, as_json, show)


def plan(
    as_of: AsOfOption = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which steps would run, and which of their inputs is another than before; changes nothing.

    Example: `retrieval retrain plan --set training.epochs=5`
    """
    from retrieval.data.config import iso_moment
    from retrieval.workflows.retrain.plan import plan_retrain

    found = plan_retrain(open_workspace(workspace, overrides), as_of_us=read_moment("--as-of", as_of))

    def show(console: Console) -> None:
        lines: list[list[Any]] = [[one.name, one.state, one.why] for one in found.steps]
        console.print(table(f"As of {iso_moment(found.as_of_us)}", ["step", "", "why"], lines))

    emit(plain(found), as_json, show)


def list_runs(
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many, the newest.")] = 20,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List runs of the chain, newest first: what each came to, and why it was refused or failed.

    Example: `retrieval retrain list --limit 5`
    """
    from contextlib import closing

    from retrieval.data.config import iso_moment

    opened = open_workspace(workspace, overrides)
    with closing(opened.registry()) as registry:
        rows = registry.retraining.runs(opened.model, limit=limit)

    def show(console: Console) -> None:
        lines: list[list[Any]] = [
            [row.id, row.state, iso_moment(row.as_of_us), moment(row.started_at), row.version, row.build, row.note]
            for row in rows
        ]
        columns = ["run", "state", "as of", "began", "version", "build", "note"]
        console.print(table("Retrainings", columns, lines))

    emit([plain(row) for row in rows], as_json, show)


def schedule(workspace: WorkspaceOption = None, overrides: SetOption = None) -> None:
    """Retrain whenever it is due (retrain.cron or retrain.every), in the foreground, until SIGTERM or Ctrl-C.

    Of several on one registry, one leads and the others wait: what is due is done once, and the work of a machine that
    died is taken over. What was missed meanwhile is done once. The signal ends a run between two steps; it goes on
    there when a scheduler is back. `retrieval jobs` shows what it does, cancels and retries.

    Example: `retrieval retrain schedule --set retrain.every=6h`
    """
    from retrieval.workflows.jobs.schedule import run_schedule

    run_schedule(open_workspace(workspace, overrides))


def _reason(given: str | None) -> str:
    from retrieval.errors import ConfigError

    if given is not None and not given.strip():
        raise ConfigError("--force: say why; the reason stands in the audit trail")
    return (given or "").strip()
