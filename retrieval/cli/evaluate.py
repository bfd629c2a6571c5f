"""`retrieval evaluate`: measures a model version on the full corpus, with baselines beside it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace
from retrieval.types import ModelVersion


class Part(StrEnum):
    """Which targets of the split are measured."""

    TEST = "test"
    VALID = "valid"


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    app.command("evaluate")(evaluate)


def evaluate(
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="homefeed@12 or 12; the newest if not given.")
    ] = None,
    *,
    split: Annotated[Part, typer.Option("--split", help="Which targets are measured.")] = Part.TEST,
    columns: Annotated[
        list[str] | None,
        typer.Option("--slice", metavar="COLUMN", help="Show a column's values separately, e.g. user.country."),
    ] = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model version on the full corpus, exactly: hit rate, NDCG, MRR, coverage, popularity bias.

    Popularity, recent popularity and co-visitation are measured beside it, under the same protocol.

    Example: `retrieval evaluate homefeed@12 --slice user.country`
    """
    from retrieval.pipeline.evaluate import evaluate_version

    opened = open_workspace(workspace, overrides)
    chosen = None if version is None else ModelVersion.parse(version, model=opened.model)
    report = evaluate_version(opened, chosen, targets=split.value, slices=columns or (), show=not as_json)
    emit(report.to_dict(), as_json, lambda console: console.print(*report.tables(), sep="\n"))
