"""`retrieval evaluate`: measures a model version on the full corpus, with baselines beside it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace
from retrieval.errors import ConfigError
from retrieval.types import ModelVersion

if TYPE_CHECKING:
    from rich.console import Console

    from retrieval.evaluation.reports import Findings
    from retrieval.workflows.workspace import Workspace


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
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write a report with plots to FILE.html or FILE.md."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="VERSION", help="Compare with another version on the same targets, paired."),
    ] = None,
    other_data: Annotated[
        bool, typer.Option("--other-data", help="Allow --against a version that was trained on other data.")
    ] = False,
    neighbours_of: Annotated[
        list[str] | None,
        typer.Option("--neighbours-of", metavar="ITEM", help="Show this item's neighbours in the report; repeatable."),
    ] = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model version on the full corpus, exactly: hit rate, NDCG, MRR, coverage, popularity bias.

    Popularity, recent popularity and co-visitation are measured beside it, under the same protocol.

    With --report, also their 95 % intervals, comparisons, exposure, calibration and neighbours, on one page.

    Example: `retrieval evaluate homefeed@12 --slice user.country --against 11 --report homefeed-12.html`
    """
    if neighbours_of and report is None:
        raise ConfigError("--neighbours-of goes into a report; add --report FILE.html")
    if other_data and against is None:
        raise ConfigError("--other-data is about --against; add --against VERSION")
    opened = open_workspace(workspace, overrides)
    chosen = None if version is None else ModelVersion.parse(version, model=opened.model)
    if report is None and against is None:
        from retrieval.workflows.evaluation.evaluate import evaluate_version

        found = evaluate_version(opened, chosen, targets=split.value, slices=columns or (), show=not as_json)
        emit(found.to_dict(), as_json, lambda console: console.print(*found.tables(), sep="\n"))
        return
    other = None if against is None else ModelVersion.parse(against, model=opened.model)
    _examine(
        opened,
        chosen,
        other,
        split=split,
        columns=columns or [],
        report=report,
        neighbours_of=neighbours_of or [],
        as_json=as_json,
        other_data=other_data,
    )


def _examine(
    opened: Workspace,
    version: ModelVersion | None,
    against: ModelVersion | None,
    *,
    split: Part,
    columns: list[str],
    report: Path | None,
    neighbours_of: list[str],
    as_json: bool,
    other_data: bool,
) -> None:
    from retrieval.evaluation.reports import check_report_path, make_page, write_page
    from retrieval.workflows.evaluation.report import examine_version

    if report is not None:
        check_report_path(report)
    found = examine_version(
        opened,
        version,
        against=against,
        other_data=other_data,
        targets=split.value,
        slices=columns,
        whole=report is not None,
        neighbours_of=neighbours_of,
        show=not as_json,
    )
    if report is not None:
        write_page(make_page(found), report)
    body = {**found.to_dict(), "report": None if report is None else str(report)}
    emit(body, as_json, lambda console: _show(console, found, report))


def _show(console: Console, found: Findings, report: Path | None) -> None:
    console.print(*found.report.tables(), sep="\n")
    for line in found.sentences():
        console.print(line, markup=False, highlight=False)
    if report is not None:
        console.print(f"report: {report}", markup=False, highlight=False)
