"""`retrieval status`: what is served where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace, table
from retrieval.cli.rows import moment, plain
from retrieval.cli.times import shown_seconds

if TYPE_CHECKING:
    from rich.console import Console

    from retrieval.rollout.overview import HostView, Overview


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    app.command("status")(status)


def status(workspace: WorkspaceOption = None, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Show the active build, a deployment that is running, and what each host serves and holds.

    Example: `retrieval status --workspace shop`
    """
    from retrieval.workflows.fleet.status import fleet_status

    seen = fleet_status(open_workspace(workspace, overrides))
    emit(_result(seen), as_json, lambda console: _show(console, seen))


def _result(seen: Overview) -> dict[str, Any]:
    hosts = [plain(view.row) | {"standing": view.standing, "age_s": round(view.age_s, 3)} for view in seen.hosts]
    result: dict[str, Any] = plain(seen)
    told = {"hosts": hosts, "versions": plain(seen.versions), "behind": seen.behind}
    return result | told | {"as_of_age_s": seen.as_of_age_s}


def _show(console: Console, seen: Overview) -> None:
    if seen.active is None:
        console.print(f"{seen.model}: no build is deployed yet (`retrieval deploy BUILD`)", highlight=False)
    else:
        back = f"; a roll-back goes to {seen.previous.id}" if seen.previous else ""
        console.print(f"{seen.model}: {seen.active.id} of {seen.active.model_version} is active{back}", highlight=False)
        if seen.as_of_age_s is not None:
            console.print(f"Items are as they were known {shown_seconds(seen.as_of_age_s)} ago", highlight=False)
    if seen.running:
        row = seen.running
        how = "was interrupted: deploy again or roll back" if seen.interrupted else "is running"
        by = f"started by {row.who} at {moment(row.started_at)}"
        console.print(f"{row.kind} {row.id} of {row.build_id} {how} ({by})", highlight=False, soft_wrap=True)
    hosts = [view for view in seen.hosts if view.row.role == "ann"]
    versions = sorted({view.row.version for view in hosts if view.row.version is not None})
    columns = ["host", "shard", "address", "state", "seen", "build", *(f"{seen.model}@{v}" for v in versions)]
    console.print(table("ANN hosts", columns, [_host(view, versions) for view in hosts]))
    services = [_service(view) for view in seen.hosts if view.row.role != "ann"]
    console.print(table("Candidate services", ["service", "address", "state", "seen", "user towers"], services))
    if seen.behind:
        console.print(f"Not on the target build: {', '.join(seen.behind)}", highlight=False, soft_wrap=True)


def _host(view: HostView, versions: list[int]) -> list[Any]:
    row = view.row
    shard = f"{row.shard} of {row.shards}" if row.shards is not None else row.shard
    marks = ["●" if row.version == version else "" for version in versions]
    build = f"b{row.build}" if row.build is not None else None
    return [row.host_id, shard, row.address, view.standing, f"{view.age_s:.0f} s ago", build, *marks]


def _service(view: HostView) -> list[Any]:
    row = view.row
    towers = ", ".join(f"{row.model}@{version}" for version in row.towers) or None
    return [row.host_id, row.address, view.standing, f"{view.age_s:.0f} s ago", towers]
