"""`retrieval deploy`, `retrieval rollback`, `retrieval gc`: which build the hosts serve, and what may go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, confirmed, emit, open_workspace, table
from retrieval.cli.rows import plain

if TYPE_CHECKING:
    from rich.console import Console


BuildArgument = Annotated[str, typer.Argument(metavar="BUILD", help="A build, e.g. homefeed-b3, or 3.")]


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    app.command("deploy")(deploy)
    app.command("rollback")(rollback)
    app.command("gc")(gc)


def deploy(
    build: BuildArgument,
    *,
    supersede: Annotated[
        bool, typer.Option("--supersede", help="End a deployment that is still marked as running elsewhere.")
    ] = False,
    without_hosts: Annotated[
        bool, typer.Option("--without-hosts", help="No host is up yet: they load the build when they start.")
    ] = False,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring an index build to the ANN hosts, one after another, while they go on answering.

    Each host loads and verifies its shard beside the one it serves, and then switches. If one can't load it, those
    that had switched are put back.

    Example: `retrieval deploy homefeed-b3`
    """
    from retrieval.types import BuildId
    from retrieval.workflows.fleet.deployment import deploy_build

    opened = open_workspace(workspace, overrides)
    number = BuildId.parse(build, model=opened.model)
    report = deploy_build(opened, number, supersede=supersede, without_hosts=without_hosts, say=_say)
    _emit_report(report, as_json)


def rollback(
    to: Annotated[str | None, typer.Option("--to", metavar="BUILD", help="Go to this build.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go back to the build that was active before, or to another one; a deployment that is running is ended.

    Example: `retrieval rollback --yes`
    """
    from retrieval.types import BuildId
    from retrieval.workflows.fleet.deployment import roll_back

    opened = open_workspace(workspace, overrides)
    target = BuildId.parse(to, model=opened.model) if to else None
    report = roll_back(opened, target, confirm=lambda question: yes or confirmed(question), say=_say)
    assert report is not None, "a no ends the command"
    _emit_report(report, as_json)


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go, and why the rest stays.")] = False,
    keep_builds: Annotated[
        int | None, typer.Option("--keep-builds", min=1, help="Keep the newest so many builds; rollout.keep_builds.")
    ] = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete versions and builds that nothing needs.

    The active, target and previous builds, what a live host serves, the newest builds and versions
    (rollout.keep_builds, serving.towers_kept) and the versions of all these always stay.

    Example: `retrieval gc --dry-run`
    """
    from retrieval.workflows.fleet.deployment import collect_garbage

    report = collect_garbage(open_workspace(workspace, overrides), keep_builds=keep_builds, dry_run=dry_run)
    result = plain(report) | {"freed_bytes": report.freed_bytes}

    def show(console: Console) -> None:
        done = "Would delete" if dry_run else "Deleted"
        rows: list[list[Any]] = [[item.kind, item.name, item.key, item.freed_bytes] for item in report.collected]
        console.print(table(f"{done} {report.freed_bytes:,} bytes", ["kind", "name", "key", "bytes"], rows))
        kept: list[list[Any]] = [[v.kind, v.name, v.state, "; ".join(v.reasons)] for v in report.kept]
        console.print(table("Kept", ["kind", "name", "state", "because"], kept))

    emit(result, as_json, show)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _emit_report(report: Any, as_json: bool) -> None:
    row = report.deployment

    def show(console: Console) -> None:
        hosts = [[h.host_id, h.shard, h.address, h.outcome, h.was, h.now, h.note] for h in report.hosts]
        columns = ["host", "shard", "address", "outcome", "was", "now", "note"]
        console.print(table(f"{row.kind} {row.id} of {row.build_id}: {row.state}", columns, hosts))
        for host in report.down:
            console.print(f"{host.host_id} is down; it takes up {row.build_id} by itself when it is back.")

    emit(plain(report), as_json, show)
