"""`retrieval jobs`: what the scheduler has run, runs, and is to run."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace, table
from retrieval.cli.rows import moment, plain
from retrieval.errors import ConfigError
from retrieval.registry.job_rows import ENDED, JobRow, JobState

if TYPE_CHECKING:
    from rich.console import Console

    from retrieval.registry import Registry

_BRIEF = 60
JobArgument = Annotated[int, typer.Argument(metavar="JOB", min=1, help="The number of a job.")]


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    noun = typer.Typer(help="Scheduled jobs: how far they are, their logs; cancel, retry.", no_args_is_help=True)
    noun.command("list")(list_jobs)
    noun.command("show")(show)
    noun.command("logs")(logs)
    noun.command("cancel")(cancel)
    noun.command("retry")(retry)
    noun.command("run", hidden=True)(run)
    app.add_typer(noun, name="jobs")


def list_jobs(
    state: Annotated[
        list[str] | None, typer.Option("--state", help="Only jobs in this state; may be given again.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many, the newest.")] = 20,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the model's jobs, newest first.

    Example: `retrieval jobs list --state running`
    """
    opened = open_workspace(workspace, overrides)
    with closing(opened.registry()) as registry:
        rows = registry.jobs.list(opened.model, states=_states(state or []), limit=limit)
    lines = [
        [
            str(r.id),
            r.what,
            moment(r.due_at),
            r.state,
            _progress(r),
            moment(r.started_at),
            moment(r.finished_at),
            _brief(r),
        ]
        for r in rows
    ]
    columns = ["job", "what", "due", "state", "progress", "started", "ended", "error"]
    emit([plain(row) for row in rows], as_json, lambda console: console.print(table("Jobs", columns, lines)))


def show(
    job: JobArgument,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until it has ended; with --json, one line for each change.")
    ] = False,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one job: what it does now, how far it is, how it ended.

    Example: `retrieval jobs show 12 --watch`
    """
    with closing(open_workspace(workspace, overrides).registry()) as registry:
        if watch:
            _watch(registry, job, as_json)
            return
        row = registry.jobs.get(job)
    emit(plain(row), as_json, lambda console: _show(console, row))


def logs(
    job: JobArgument,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    tail: Annotated[int, typer.Option("--tail", min=0, max=1_000_000, help="Begin with the last so many lines.")] = 200,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a job's newest attempt wrote; its log lies in the workspace of the machine that it was begun on.

    Example: `retrieval jobs logs 12 --follow`
    """
    from retrieval.workflows.jobs.logs import followed, log_path, newest_lines

    if follow and as_json:
        raise ConfigError("--follow and --json: a log that goes on is no JSON object")
    opened = open_workspace(workspace, overrides)
    with closing(opened.registry()) as registry:
        row = registry.jobs.get(job)
        path = log_path(opened.root, row)
        size = path.stat().st_size
        text = newest_lines(path, tail)
        result = {"job": job, "log": str(path), "text": text}
        emit(result, as_json, lambda _: _write(text))
        if follow:
            for more in followed(path, size, lambda: registry.jobs.get(job).state in {*ENDED, "queued"}):
                _write(more)


def cancel(
    job: JobArgument,
    *,
    now: Annotated[bool, typer.Option("--now", help="In the middle of a step, not before the next one.")] = False,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel a job: at once where it waits, before its next step where it runs. What it had done stays.

    Example: `retrieval jobs cancel 12`
    """
    with closing(open_workspace(workspace, overrides).registry()) as registry:
        row = registry.jobs.cancel(job, now=now)
    when = "now" if row.cancel == "now" else "before its next step"
    said = f"job {job} is cancelled" if row.state == "cancelled" else f"job {job} is asked to end {when}"
    emit(plain(row), as_json, lambda console: console.print(said, highlight=False))


def retry(
    job: JobArgument,
    *,
    force: Annotated[
        str | None,
        typer.Option("--force", metavar="REASON", help="Pass over gates that refuse; the reason is recorded."),
    ] = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Queue a job again that was refused, failed or cancelled, as of the same moment; steps that were done are found.

    Example: `retrieval jobs retry 12 --force "a holiday, seen by Anna"`
    """
    if force is not None and not force.strip():
        raise ConfigError("--force: say why; the reason stands in the audit trail")
    with closing(open_workspace(workspace, overrides).registry()) as registry:
        row = registry.jobs.retry(job, forced=(force or "").strip())
    said = f"job {job} is queued; `retrieval retrain schedule` begins it"
    emit(plain(row), as_json, lambda console: console.print(said, highlight=False, soft_wrap=True))


def run(
    job: JobArgument,
    *,
    token: Annotated[int, typer.Option("--token", help="Of the lease that the job was begun under.")],
    parent: Annotated[int | None, typer.Option("--parent", help="Process to end with.")] = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Do a job that the scheduler has begun; it calls this itself."""
    from retrieval.workflows.jobs.run import run_job

    run_job(open_workspace(workspace, overrides), job, token, parent=parent)


def _watch(registry: Registry, job: int, as_json: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    from retrieval.workflows.jobs.watching import changes

    console = Console()
    if as_json:
        for row in changes(registry, job):
            _write(json.dumps(plain(row)) + "\n")
    elif console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            for row in changes(registry, job):
                live.update(_line(row), refresh=True)
    else:
        for row in changes(registry, job):
            _write(_line(row) + "\n")


def _line(row: JobRow) -> str:
    said = [part for part in (_progress(row), row.note, row.error) if part]
    return f"job {row.id} {row.state}{': ' if said else ''}{'; '.join(said)}"


def _show(console: Console, row: JobRow) -> None:
    for name, value in plain(row).items():
        console.print(f"{name}: {value}", highlight=False, markup=False, soft_wrap=True)


def _brief(row: JobRow) -> str:
    """The beginning of what went wrong; `retrieval jobs show` has all of it."""
    first = row.error.partition("\n")[0]
    return first if len(first) <= _BRIEF else first[: _BRIEF - 1] + "…"


def _progress(row: JobRow) -> str:
    """Which step of how many, and how far within it."""
    if not row.step:
        return ""
    step = f"{row.step} ({row.step_number} of {row.step_count})"
    if row.total:
        return f"{step}, {100 * row.done / row.total:.0f} %"
    return f"{step}, {row.done:,}" if row.done else step


def _states(given: list[str]) -> list[JobState]:
    known = get_args(JobState)
    found: list[JobState] = []
    for state in given:
        if state not in known:
            raise ConfigError(f"--state {state!r}: expected one of {', '.join(known)}")
        found.append(state)  # type: ignore[arg-type]
    return found


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
