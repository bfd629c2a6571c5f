"""`retrieval tune`: searches for better settings."""

from __future__ import annotations

import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retrieval.cli.console import JsonOption, RecipeOption, SetOption, WorkspaceOption, emit, open_workspace, table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from retrieval.workflows.tuning.study import Outcome
    from retrieval.workflows.tuning.tune import TuneOutcome

INTERRUPTED = 130


class SamplerName(StrEnum):
    """How the next trial is chosen."""

    RANDOM = "random"
    GRID = "grid"
    TPE = "tpe"


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    app.command("tune")(tune)


def tune(
    *,
    tries: Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            metavar="KEY=VALUES",
            help="A setting of features, towers or training, and what to try: a,b,c or LOW..HIGH, with :log for a "
            "logarithmic scale and :5 for that many points. Once for each setting.",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials", min=1, help="At most so many; if not given, the whole grid, or 20.", show_default=False
        ),
    ] = None,
    sampler: Annotated[
        SamplerName,
        typer.Option(
            "--sampler",
            help="random; grid (every combination); or tpe, which draws near what was good (Bergstra et al. 2011).",
        ),
    ] = SamplerName.TPE,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=100, help="Runs per trial; their mean counts.")] = 1,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Epochs of every run; as in the settings if not given.")
    ] = None,
    prune: Annotated[
        bool,
        typer.Option("--prune/--no-prune", help="Stop trials that validate below the median of the ones before them."),
    ] = True,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Go on with the same search where it stopped, or start anew.")
    ] = True,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE.toml", help="Write the best settings down as a recipe.")
    ] = None,
    recipe: RecipeOption = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search for better settings: train with many, compare them on validation, show a table and the lines to paste.

    Trials train as `retrieval train` does and are compared by `training.select`; the test targets are not looked at,
    and nothing is exported. Stopped by Ctrl-C or killed, the same command goes on: finished trials are kept.

    Example: `retrieval tune --try training.learning_rate=0.001..0.01:log --try towers.dim=64,128 --epochs 4`
    """
    from retrieval.workflows.tuning.result import best_lines, check_target, write_recipe
    from retrieval.workflows.tuning.search_space import parse_tries
    from retrieval.workflows.tuning.tune import TunePlan
    from retrieval.workflows.tuning.tune import tune as search

    if write is not None:
        check_target(write)
    opened = open_workspace(workspace, overrides, recipe=recipe)
    tried = parse_tries(tries or [], grid=sampler is SamplerName.GRID)
    plan = TunePlan(tried, trials, sampler.value, seeds=seeds, epochs=epochs, prune=prune)
    outcome = search(opened, plan, fresh=not resume, show=not as_json, say=(lambda _: None) if as_json else _say)
    lines = best_lines(outcome)
    written = write is not None and write_recipe(outcome, write, device=opened.settings.training.device)
    best = outcome.best
    result = {
        "study": str(outcome.study),
        "metric": outcome.metric,
        "interrupted": outcome.interrupted,
        "found": outcome.found,
        "best": None if best is None else asdict(best),
        "trials": [asdict(one) for one in outcome.trials],
        "toml": lines,
        "written": str(write) if written else None,
    }

    def show(console: Console) -> None:
        from rich.syntax import Syntax

        console.print(_table(outcome))
        if best is not None:
            console.print(f"The best, for retrieval.toml ({outcome.metric} {best.metric:.4f} on validation):")
            console.print(Syntax(lines, "toml", background_color="default"))
        if result["written"]:
            console.print(f"Written to {write}: retrieval train --recipe {write}", soft_wrap=True)
        if outcome.interrupted:
            console.print("Interrupted; the same command goes on where it stopped.")

    emit(result, as_json, show)
    if outcome.interrupted:
        raise typer.Exit(INTERRUPTED)


def _table(outcome: TuneOutcome) -> Table:
    keys = list(outcome.trials[0].values) if outcome.trials else []
    several = any(one.deviation is not None for one in outcome.trials)
    last = [key.rpartition(".")[2] for key in keys]
    names = [short if last.count(short) == 1 else key for key, short in zip(keys, last, strict=True)]
    columns = ["#", *names, outcome.metric, *(["±"] if several else []), "epochs", "seconds", "examples/s", "state"]
    rows = [
        [
            place,
            *(_shown(one.values[key]) for key in keys),
            one.metric,
            *([one.deviation] if several else []),
            one.epochs,
            round(one.seconds),
            round(one.examples_per_s),
            _state(one),
        ]
        for place, one in enumerate(outcome.trials, start=1)
    ]
    made = table(f"Trials, best first: {outcome.about}", columns, rows)
    for column in made.columns:
        column.overflow = "fold"  # values are to be read whole, however narrow the terminal
    return made


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _state(one: Outcome) -> str:
    if one.state == "pruned":
        return f"stopped after epoch {one.epochs}"
    return f"failed: {one.note[:80]}" if one.state == "failed" else one.state


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
