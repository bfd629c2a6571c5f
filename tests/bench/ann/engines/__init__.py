"""The engines compared: each a file here with its `ENGINES`, one for every choice of build settings.

To add one, write a subclass of `Engine` (`hnswlib.py` is the pattern) and name its file in `FILES`.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module

from tests.bench.ann.engines.engine import Effort, Engine

FILES = ("native", "exact", "hnswlib", "faiss", "usearch", "voyager", "svs", "scann")


def engines(only: Collection[str] = ()) -> list[Engine]:
    """Those in `only`, by name or by name and settings; all without it."""
    every: list[Engine] = []
    for file in FILES:
        every += import_module(f"{__name__}.{file}").ENGINES
    return [one for one in every if not only or {one.name, f"{one.name} {one.settings}"} & {*only}]


__all__ = ["FILES", "Effort", "Engine", "engines"]
