"""What every bench shares: `--json FILE`, a description of the machine, and one table of flat rows."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

Row = dict[str, Any]
_VERSIONS = ("retrieval", "numpy", "pyarrow", "torch", "onnxruntime", "hnswlib", "grpcio", "duckdb")


def bench_main(
    description: str,
    configure: Callable[[argparse.ArgumentParser], None],
    measure: Callable[[argparse.Namespace], Sequence[Row]],
    arguments: Sequence[str] | None = None,
    columns: Sequence[str] = (),
) -> None:
    """Parse the bench's flags (`configure` adds its own), run `measure`, print its rows, and write them with --json.

    Of rows with many keys, `columns` are the ones that are printed.
    """
    parser = argparse.ArgumentParser(description=description)
    configure(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine, settings and results as JSON")
    given = parser.parse_args(arguments)
    rows = list(measure(given))
    show(description, rows, columns)
    write_report(given, rows)


def write_report(given: argparse.Namespace, rows: Sequence[Row]) -> None:
    """Write the rows so far to the file that --json names, if it does; a long bench does so as it goes."""
    if not given.json:
        return
    settings = {name: value for name, value in vars(given).items() if name != "json"}
    report = {"machine": machine(), "settings": settings, "results": list(rows)}
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(report, indent=1, default=str) + "\n", encoding="utf-8")


def machine() -> Row:
    """The machine a bench ran on: processor, cores, memory, and the versions of what matters."""
    return {
        "cpu": _cpu(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version for name in _VERSIONS if (version := _version(name)) is not None},
    }


def show(title: str, rows: Sequence[Row], only: Sequence[str] = ()) -> None:
    """Print flat rows as one table; a column for every key that any row has, or for those of `only`."""
    there = dict.fromkeys(key for row in rows for key in row)
    columns = [key for key in only if key in there] or list(there)
    table = Table(title=title, title_justify="left")
    for column in columns:
        numeric = any(isinstance(row.get(column), (int, float)) for row in rows)
        table.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console = Console()
    (console if console.is_terminal else Console(width=220)).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
