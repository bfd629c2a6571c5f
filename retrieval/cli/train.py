"""`retrieval train`: makes a model version from the workspace's data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from retrieval.cli.console import JsonOption, RecipeOption, SetOption, WorkspaceOption, emit, open_workspace

if TYPE_CHECKING:
    from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    app.command("train")(train)


def train(
    *,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Go on with an interrupted run of the same inputs, or start anew.")
    ] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Train a new version even where one of the same inputs exists.")
    ] = False,
    recipe: RecipeOption = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train both towers, measure them on the full corpus, and register them as the model's next version.

    The same settings, data, code and seed address the same version: asked for again, it is found, not trained.
    Interrupted (even by kill -9), the next call goes on where the run stopped.

    Example: `retrieval train --set training.epochs=5`
    """
    from retrieval.workflows.training.train import TrainOutcome, train_version

    outcome: TrainOutcome = train_version(
        open_workspace(workspace, overrides, recipe=recipe), fresh=not resume, force=force, show=not as_json
    )
    row, run = outcome.version, outcome.run
    result: dict[str, Any] = {
        "version": str(row.id),
        "space_id": row.space_id,
        "found": outcome.found,
        "key": row.key,
        "metrics": dict(row.metrics),
        "epochs": run.epochs if run else None,
        "best_epoch": run.best_epoch if run else None,
        "examples": run.examples if run else None,
        "seconds": round(run.seconds, 1) if run else None,
        "device": run.device if run else None,
        "precision": run.precision if run else None,
        "resumed_at_step": run.resumed_at if run else None,
    }

    def show(console: Console) -> None:
        if outcome.report is not None:
            console.print(*outcome.report.tables(), sep="\n")
        if run is None:
            console.print(f"{row.id} was made from the same inputs before; nothing to do (--force trains anew)")
            return
        console.print(
            f"{row.id} is ready: {run.epochs} epochs ({run.examples:,} examples) in {run.seconds:.0f} s "
            f"in {run.precision} on {run.device}, the best was epoch {run.best_epoch}; next: retrieval index build"
        )

    emit(result, as_json, show)
