"""How a shard's vectors are searched: one small file per backend, named here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from retrieval.index.backends import exact, hnsw, native
from retrieval.index.backends.backend import Backend

BACKENDS: Mapping[str, Backend] = MappingProxyType(
    {"native": native.BACKEND, "hnswlib": hnsw.BACKEND, "exact": exact.BACKEND}
)
"""Backends by the name that `index.ann` and a shard's metadata use."""

__all__ = ["BACKENDS", "Backend"]
