"""What the engine needs of ANN hosts, wherever they run: other processes called over gRPC, or objects in this one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from retrieval.errors import SpaceMismatchError
from retrieval.index.query import Hits, ItemAttributes, Query
from retrieval.serving.core.metadata import HostMetadata
from retrieval.types import SpaceId


class HostRefusedError(SpaceMismatchError):
    """A host serves another space; `metadata` is what it serves, where it said so."""

    def __init__(self, message: str, metadata: HostMetadata | None) -> None:
        super().__init__(message)
        self.metadata = metadata


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """A host's hits for each query, in their order, what it serves and has searched, and the time it took in µs."""

    hits: Sequence[Hits]
    metadata: HostMetadata
    search_us: int


@dataclass(frozen=True, slots=True)
class HostSearch:
    """What one host is asked: `vectors` float32 [n, D] of the space `space_id`, and a query for each of them."""

    address: str
    space_id: SpaceId
    vectors: npt.NDArray[np.float32]
    queries: Sequence[Query]


@dataclass(frozen=True, slots=True)
class HostAttributes:
    """What one host is asked of items (raw ids) that it holds."""

    address: str
    item_ids: Sequence[str]
    names: Sequence[str]


class AttributesCall(Protocol):
    """A question for attributes under way."""

    def result(self) -> ItemAttributes:
        """Wait for the answer. Raises UnavailableError, DeadlineError."""


class SearchCall(Protocol):
    """A search under way."""

    def result(self) -> HostAnswer:
        """Wait for the answer. Raises HostRefusedError, UnavailableError, DeadlineError, RequestError."""

    def cancel(self) -> None:
        """Give the search up."""


class HostConnections(Protocol):
    """Ways to the hosts of one model, by address. Thread-safe."""

    def search(self, searches: Sequence[HostSearch], timeout_s: float) -> Sequence[SearchCall]:
        """Begin a search on each of several hosts, which may have queries in common; none takes over `timeout_s`."""

    def attributes(self, asked: Sequence[HostAttributes], timeout_s: float) -> Sequence[AttributesCall]:
        """Ask several hosts for attributes of items; none takes over `timeout_s`."""
