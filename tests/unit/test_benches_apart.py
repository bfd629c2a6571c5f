"""Benches may use what tests share; tests, but for those of the benches themselves, need nothing from the benches."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def test_no_test_needs_a_bench() -> None:
    found = {
        f"{path.relative_to(TESTS)}: {name}"
        for path in TESTS.rglob("*.py")
        if "bench" not in path.relative_to(TESTS).parts and not path.name.startswith("test_bench_")
        for name in imported(path)
        if name.startswith("tests.bench")
    }
    assert not found


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
