"""`retrieval index`: build the index of a model version, and check one."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace, table
from retrieval.types import BuildId, ModelVersion

if TYPE_CHECKING:
    from rich.console import Console

DeviceOption = Annotated[str, typer.Option("--device", help="Where items are encoded: auto, cpu or cuda.")]


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    noun = typer.Typer(help="Build and check index builds.", no_args_is_help=True)
    noun.command("build")(build)
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
