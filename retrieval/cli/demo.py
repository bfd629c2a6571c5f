"""`retrieval demo`: the main job from end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from retrieval.cli.console import JsonOption, emit

WRONG = 1


def register(app: typer.Typer) -> None:
    """Add `retrieval demo`."""
    app.command("demo")(demo)


def demo(
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Folder to work in; made anew if a demo made it before.")
    ] = Path("demo-workspace"),
    as_json: JsonOption = False,
) -> None:
    """Run the whole path on synthetic logs: train, index, serve, retrain, roll out, roll back, check every answer.

    Ends with exit status 1 if anything is off. Example: retrieval demo --workspace /tmp/demo
    """
    from rich.console import Console

    from retrieval.workflows.demo.run import run_demo

    console = Console(stderr=as_json)
    summary = run_demo(workspace.resolve(), console=console)
    emit(summary.to_dict(), as_json, summary.show)
    if summary.problems():
        raise typer.Exit(WRONG)
