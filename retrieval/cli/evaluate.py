"""`retrieval evaluate`: measures a model version on the full corpus, with baselines beside it."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace
from retrieval.errors import ConfigError, GateError
from retrieval.types import ModelVersion

if TYPE_CHECKING:
    from rich.console import Console

    from retrieval.evaluation.reports import Findings
    from retrieval.evaluation.served import ServedQuality
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
    served: Annotated[
        bool, typer.Option("--served", help="Ask the services for the targets, and show where quality is lost.")
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(
            "--address", metavar="HOST:PORT", help="With --served: the candidate service, if not this workspace's."
        ),
    ] = None,
    max_loss: Annotated[
        float | None,
        typer.Option(
            "--max-loss", min=0.0, max=1.0, help="With --served: fail past this, not evaluation.max_served_loss."
        ),
    ] = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model version on the full corpus, exactly: hit rate, NDCG, MRR, coverage, popularity bias.

    The baselines of evaluation.baselines are measured beside it, under the same protocol.

    With --report, also their 95 % intervals, comparisons, exposure, calibration and neighbours, on one page.

    With --served, the targets are asked for as users would: of the candidate service that runs, or of its engine in
    this process where none does. From the trained towers to the answer, one part after another is replaced by the one
    that is served, and each stage's loss of hit rate is shown; where one is over the limit, the exit status is 8.

    Examples:

    `retrieval evaluate homefeed@12 --slice user.country --against 11 --report homefeed-12.html`

    `retrieval evaluate --served --max-loss .005`
    """
    if neighbours_of and report is None:
        raise ConfigError("--neighbours-of goes into a report; add --report FILE.html")
    if other_data and against is None:
        raise ConfigError("--other-data is about --against; add --against VERSION")
    if not served and (address is not None or max_loss is not None):
        raise ConfigError("--address and --max-loss are about --served; add it")
    opened = open_workspace(workspace, overrides)
    chosen = None if version is None else ModelVersion.parse(version, model=opened.model)
    other = None if against is None else ModelVersion.parse(against, model=opened.model)
    asked = None
    if served:
        from retrieval.workflows.evaluation.served.measure import measure_served

        asked = measure_served(
            opened, chosen, address=address, targets=split.value, max_loss=max_loss, show=not as_json
        )
        chosen = asked.version
    if report is not None or other is not None:
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
            served=asked,
        )
    elif asked is not None:
        emit(asked.to_dict(), as_json, partial(_show_served, asked))
    else:
        from retrieval.workflows.evaluation.evaluate import evaluate_version

        found = evaluate_version(opened, chosen, targets=split.value, slices=columns or (), show=not as_json)
        emit(found.to_dict(), as_json, lambda console: console.print(*found.tables(), sep="\n"))
    if asked is not None and asked.problems():
        raise typer.Exit(GateError.exit_code)


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
    served: ServedQuality | None,
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
    found = replace(found, served=served)
    if report is not None:
        write_page(make_page(found), report)
    body = {**found.to_dict(), "report": None if report is None else str(report)}
    emit(body, as_json, lambda console: _show(console, found, report))


def _show(console: Console, found: Findings, report: Path | None) -> None:
    console.print(*found.report.tables(), sep="\n")
    for line in found.sentences():
        console.print(line, markup=False, highlight=False)
    if found.served is not None:
        _show_served(found.served, console)
    if report is not None:
        console.print(f"report: {report}", markup=False, highlight=False)


def _show_served(served: ServedQuality, console: Console) -> None:
    console.print(*served.tables(), sep="\n")
    for line in (*served.remarks, *(f"OFF  {problem}" for problem in served.problems())):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
