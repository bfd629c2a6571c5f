"""How a shard's vectors are searched: one small file per backend, and one line each here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.strategies import Strategies, Strategy

if TYPE_CHECKING:
    from retrieval.index.backends.backend import Backend

_HERE = "retrieval.index.backends"

BACKENDS = Strategies(
    setting="index.ann",
    expects="an index.backends.backend.Backend",
    named={
        "native": Strategy(f"{_HERE}.native:BACKEND", "the project's own core, with leaves of near items and a graph"),
        "hnswlib": Strategy(f"{_HERE}.hnsw:BACKEND", "a graph"),
        "exact": Strategy(f"{_HERE}.exact:BACKEND", "every item is compared"),
    },
)
"""Backends by the name that `index.ann` and a shard's metadata use."""


def load_backend(choice: str) -> Backend:
    """The backend of that name or import path. Raises ConfigError where there is none, or it isn't one."""
    from retrieval.index.backends.backend import Backend

    found = BACKENDS.load(choice)
    if not isinstance(found, Backend):
        raise BACKENDS.misfit(choice, f"found {type(found).__name__} {found!r}")
    return found
