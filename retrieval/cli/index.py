"""`retrieval index`: build the index of a model version, refresh the one that is served, and check one."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace, table
from retrieval.cli.times import read_moment, read_seconds
from retrieval.errors import ConfigError
from retrieval.types import BuildId, ModelVersion

if TYPE_CHECKING:
    from rich.console import Console

    from retrieval.workflows.indexing.refresh import RefreshOutcome

DeviceOption = Annotated[str, typer.Option("--device", help="Where items are encoded: auto, cpu or cuda.")]


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    noun = typer.Typer(help="Build, refresh and check index builds.", no_args_is_help=True)
    noun.command("build")(build)
    noun.command("refresh")(refresh)
    noun.command("verify")(verify)
    app.add_typer(noun, name="index")


def build(
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="Version to index (homefeed@12, or 12); else the newest.")
    ] = None,
    *,
    shards: Annotated[int | None, typer.Option("--shards", help="Number of shards, instead of index.shards.")] = None,
    device: DeviceOption = "auto",
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Encode the corpus with a version's item tower and build its index; the same inputs again find the same build.

    Example: `retrieval index build homefeed@12 --shards 2`
    """
    from retrieval.workflows.indexing.build import build_version_index

    here = open_workspace(workspace, overrides)
    wanted = None if version is None else ModelVersion.parse(version, model=here.model)
    outcome = build_version_index(here, wanted, shards=shards, device=device, show=not as_json)
    row, report = outcome.build, outcome.report
    result: dict[str, Any] = {
        "build": str(row.id),
        "version": str(row.model_version),
        "space_id": row.space_id,
        "shards": row.shards,
        "items": row.items,
        "recall": row.recall,
        "digest": row.digest,
        "reused": report is None,
    }
    if report is not None:
        result |= {"resumed_shards": report.resumed, "encode_s": report.encode_s, "graph_s": report.graph_s}
        result |= {"total_s": report.total_s, "measured_k": report.shards[0].measured_k}
    emit(result, as_json, lambda console: _show_build(console, result))


def refresh(
    *,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of", metavar="MOMENT", help="Go by what was known before this moment (ISO 8601, UTC), not now."
        ),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option("--every", metavar="TIME", help="Go on in the foreground, once in so long, as 30s or 5m."),
    ] = None,
    device: DeviceOption = "auto",
    parent: Annotated[int | None, typer.Option("--parent", hidden=True, help="Process to end with.")] = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Encode what is new or has moved since the build that is served, and bring it to the hosts in the same space.

    Activity, age, first events, changed columns, new items: whatever the item tower reads. The vectors of all other
    items are taken over. With `--every`, users who had new events are loaded as well. Where a refresh fails, what is
    served stays as it is.

    Examples: `retrieval index refresh`, `retrieval index refresh --as-of 2017-10-10T12:00`,
    `retrieval index refresh --every 5m`
    """
    here = open_workspace(workspace, overrides)
    at_us = read_moment("--as-of", as_of)
    if every is None:
        from retrieval.workflows.indexing.refresh import refresh_index

        found = refresh_index(here, at_us=at_us, device=device, show=not as_json)
        result = _refreshed(found)
        emit(result, as_json, lambda console: _show_refresh(console, result))
        return
    if at_us is not None:
        raise ConfigError("--as-of and --every: a refresh that goes on goes by the time that it is")
    from retrieval.workflows.indexing.refresh_loop import run_refreshes

    run_refreshes(
        here,
        read_seconds("--every", every),
        device=device,
        parent=parent,
        done=lambda found: emit(_refreshed(found), as_json, lambda console: _show_refresh(console, _refreshed(found))),
    )


def verify(
    build: Annotated[str, typer.Argument(metavar="BUILD", help="Build to check (homefeed-b3, or 3).")],
    device: DeviceOption = "auto",
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check everything about a build again: checksums, structure, canary answers, golden items.

    Example: `retrieval index verify homefeed-b3`
    """
    from retrieval.workflows.indexing.verify import verify_version_index

    here = open_workspace(workspace, overrides)
    found = verify_version_index(here, BuildId.parse(build, model=here.model), device=device, show=not as_json)

    def show(console: Console) -> None:
        columns = ["shard", "items", "recall", "at k", "dim", "graph"]
        rows = [[m.shard, m.count, m.recall, m.measured_k, m.dim, m.backend] for m in found.shards]
        console.print(table(f"{found.build} of {found.version} is sound", columns, rows))
        if found.golden_cosine is not None:
            console.print(f"{found.golden_items} golden items encoded anew: lowest cosine {found.golden_cosine:.6f}")

    emit(asdict(found), as_json, show)


def _refreshed(found: RefreshOutcome) -> dict[str, Any]:
    report, deployment = found.report, found.deployment
    return {
        "build": str(found.build.id),
        "parent": str(found.parent.id),
        "version": str(found.build.model_version),
        "space_id": found.build.space_id,
        "at_us": found.at_us,
        "items": found.build.items,
        "new": found.new,
        "moved": found.moved,
        "gone": found.gone,
        "recall": found.build.recall,
        "encode_s": report.encode_s if report else 0.0,
        "graph_s": report.graph_s if report else 0.0,
        "total_s": found.total_s,
        "cpu_s": found.cpu_s,
        "hosts": len(deployment.hosts) if deployment else 0,
        "down": [host.host_id for host in deployment.down] if deployment else [],
    }


def _show_refresh(console: Console, result: dict[str, Any]) -> None:
    name, parent = result["build"], result["parent"]
    spent = f"{result['total_s']:.1f} s, {result['cpu_s']:.1f} s of them on a processor"
    if name == parent:
        console.print(f"{name}: none of its {result['items']:,} items has moved ({spent})")
        return
    console.print(
        f"{name} takes the place of {parent}: {result['moved']:,} of {result['items']:,} items encoded, "
        f"{result['new']:,} of them new, {result['gone']:,} gone; {result['hosts']} hosts ({spent})"
    )
    if result["down"]:
        console.print(f"Down, they take it up when they are back: {', '.join(result['down'])}")


def _show_build(console: Console, result: dict[str, Any]) -> None:
    name, version = result["build"], result["version"]
    if result["reused"]:
        console.print(f"{name} of {version} is there already, of the same inputs: {result['items']:,} items")
    else:
        console.print(
            f"{name} of {version}: {result['items']:,} items in {result['shards']} shards, "
            f"recall@{result['measured_k']} {result['recall']:.4f}, {result['total_s']:.1f} s "
            f"(encoding {result['encode_s']:.1f} s, graph {result['graph_s']:.1f} s)"
        )
    console.print(f"Next: `retrieval deploy {name}`")
