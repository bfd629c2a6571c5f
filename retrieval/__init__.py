"""Embedding-based retrieval: two towers learned from engagement logs, served as one version in two halves.

    shop = retrieval.Workspace.create("shop", events=events, items=items)
    version = shop.train()
    build = shop.build_index()
    with shop.retriever() as retriever:
        retriever.candidates("u17", k=10).to_pandas()

What is named in `__all__` is public; everything else may change with any version. A name's module is loaded when it is
first used, so that a client needs no torch, and `import retrieval` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retrieval.api.build import Build
    from retrieval.api.candidates import Candidates
    from retrieval.api.client import AsyncClient, Client
    from retrieval.api.retriever import Retriever
    from retrieval.api.version import Version
    from retrieval.api.workspace import Workspace
    from retrieval.errors import RetrievalError

__version__ = "0.1.0"

__all__ = ["AsyncClient", "Build", "Candidates", "Client", "RetrievalError", "Retriever", "Version", "Workspace"]

_MODULES = {
    "AsyncClient": "retrieval.api.client",
    "Build": "retrieval.api.build",
    "Candidates": "retrieval.api.candidates",
    "Client": "retrieval.api.client",
    "RetrievalError": "retrieval.errors",
    "Retriever": "retrieval.api.retriever",
    "Version": "retrieval.api.version",
    "Workspace": "retrieval.api.workspace",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'retrieval' has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(_MODULES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
