"""What the commands of `retrieval data` print for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from retrieval.cli.console import table
from retrieval.config import FILE_NAME

if TYPE_CHECKING:
    from rich.console import Console

    from retrieval.data.importers import Imported
    from retrieval.data.importers.suggest import Suggestion
    from retrieval.data.reading.validation import Report
    from retrieval.simulation.synthetic import Synthesised
    from retrieval.workflows.data.checking import DataDescription
    from retrieval.workflows.workspace import Workspace


def show_import(console: Console, done: Imported, workspace: Workspace, written: bool) -> None:
    """What an import read, refused and wrote, and the settings that fit."""
    rows: list[list[Any]] = [
        ["rows read", done.rows],
        ["events written", done.written],
        *([["outside the time range", done.outside]] if done.outside else []),
        *([[f"refused: {reason}", count] for reason, count in sorted(done.rejected.items())]),
        *([[f"left out: {reason}", count] for reason, count in sorted(done.rejected_profiles.items())]),
        *([[f"action {name}", count] for name, count in done.actions.items()]),
        ["users with events", done.users],
        ["items with events", done.items],
    ]
    console.print(table("Imported", ["", "rows"], rows))
    place = workspace.root / "data"
    console.print(f"Timestamps were read as {done.timestamp_unit}; written to {place}.", soft_wrap=True)
    if "rejects" in done.paths:
        console.print(f"The refused rows, each with its reason, are in {done.paths['rejects']}.", soft_wrap=True)
    _show_suggestion(console, done.suggestion, written)
    if done.recipe:
        console.print(f"So are those of the recipe {done.recipe}: {done.why}.", highlight=False, soft_wrap=True)


def show_synth(console: Console, made: Synthesised, workspace: Workspace, written: bool) -> None:
    """What a simulated world came to, and the settings that fit."""
    console.print(
        f"Wrote {made.events:,} events, {made.users:,} users, {made.items:,} items to {workspace.root / 'data'} "
        f"({made.days} days).",
        soft_wrap=True,
        highlight=False,
    )
    _show_suggestion(console, made.suggestion, written)


def _show_suggestion(console: Console, suggestion: Suggestion, written: bool) -> None:
    if written:
        console.print(f"The settings that fit are in {FILE_NAME} now.")
        return
    console.print(f"\nSettings that fit, for {FILE_NAME} (--write-settings puts them there):\n")
    console.print(suggestion.as_toml(), markup=False, highlight=False, soft_wrap=True)


def show_report(console: Console, report: Report, rejects: str | None) -> None:
    """How many rows can be used, and why others can't."""
    rows: list[list[Any]] = [["rows", report.rows], ["usable", report.good]]
    rows += [[f"refused: {reason}", count] for reason, count in sorted(report.rejected.items())]
    console.print(table("Events", ["", "rows"], rows))
    console.print(f"Timestamps were read as {report.unit}.")
    if rejects:
        console.print(f"The refused rows are in {rejects}.", soft_wrap=True)


def show_stats(console: Console, found: DataDescription) -> None:
    """The data in figures: as a whole, spread over users and items, by column."""
    plain = asdict(found.stats)
    spreads = {name: plain.pop(name) for name in ("events_per_user", "events_per_item")}
    columns = plain.pop("columns")
    console.print(table("Data", ["", ""], pairs(plain)))
    names = list(spreads["events_per_user"])
    console.print(table("Spread", ["", *names], [[name, *values.values()] for name, values in spreads.items()]))
    if columns:
        console.print(table("Columns", list(columns[0]), [list(column.values()) for column in columns]))
    if found.targets is not None and found.targets.note:
        console.print(f"Of {found.targets.test:,} test targets, {found.targets.note}", highlight=False, soft_wrap=True)


def pairs(values: dict[str, Any]) -> list[list[Any]]:
    """Rows of a two-column table; what is nested becomes rows of its own."""
    rows: list[list[Any]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += [[f"{name}: {key}", inner] for key, inner in value.items()]
        else:
            rows.append([name, ", ".join(map(str, value)) if isinstance(value, list) else value])
    return rows
