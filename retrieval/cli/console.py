"""What every command shares: its standard options, and how results and errors are shown to people and to programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retrieval.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from retrieval.workflows.workspace import Workspace

WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace", "-w", help="Workspace folder; the nearest one at or above the current folder if not given."
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. training.epochs=3.")
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME",
        help="Lay a recipe under the workspace's own settings; `retrieval recipes` lists them. Or a .toml file.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


def open_workspace(folder: Path | None, overrides: list[str] | None = None, *, recipe: str | None = None) -> Workspace:
    """The workspace that a command works in; see `retrieval.workflows.workspace.open_workspace`."""
    from retrieval.workflows import workspace

    return workspace.open_workspace(folder, overrides, recipe=recipe)


def emit(result: Any, as_json: bool, show: Callable[[Console], None]) -> None:
    """Print `result` as JSON on stdout, or let `show` print it for people."""
    if as_json:
        sys.stdout.write(json.dumps(result, indent=2, default=str) + "\n")
        return
    from rich.console import Console

    show(Console())


def confirmed(question: str) -> bool:
    """The answer on the terminal; a no ends the command. Raises ConfigError where there is no terminal."""
    if not sys.stdin.isatty():
        raise ConfigError(f"{question} There is no terminal to ask on; say --yes")
    return typer.confirm(question, abort=True, err=True)


def table(title: str, columns: list[str], rows: list[list[Any]]) -> Table:
    """A table for people; numbers are right-aligned."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[position], (int, float)) for row in rows)
        made.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
