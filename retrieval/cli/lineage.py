"""`retrieval lineage`: where a version or a build comes from, and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace
from retrieval.cli.rows import plain

if TYPE_CHECKING:
    from rich.console import Console

    from retrieval.types import BuildId, ModelVersion


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    app.command("lineage")(lineage)


def lineage(
    of: Annotated[str, typer.Argument(metavar="VERSION|BUILD", help="E.g. homefeed@3 or 3, homefeed-b2 or b2.")],
    *,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Also draw it into this file.")] = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where a version or a build comes from: log, settings, code, seed, parents, gates, builds, deployments.

    Example: `retrieval lineage homefeed@3 --svg lineage.svg`
    """
    from retrieval.storage.atomic import write_text
    from retrieval.workflows.lineage.lineage import lineage_of
    from retrieval.workflows.lineage.picture import lineage_svg
    from retrieval.workflows.lineage.words import lineage_lines

    opened = open_workspace(workspace, overrides)
    found = lineage_of(opened, _named(of, opened.model))
    if svg is not None:
        write_text(svg.absolute(), lineage_svg(found))

    def show(console: Console) -> None:
        for line in lineage_lines(found):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        if svg is not None:
            console.print(f"drawn into {svg}", highlight=False, markup=False)

    emit(plain(found), as_json, show)


def _named(text: str, model: str) -> ModelVersion | BuildId:
    """`homefeed@3` and `3` are versions, `homefeed-b3` and `b3` builds. Raises ConfigError."""
    from retrieval.types import BuildId, ModelVersion

    if "@" in text or text.isdigit():
        return ModelVersion.parse(text, model=model)
    return BuildId.parse(text, model=model)
