"""The search core in C++. Arrays are C-contiguous; n rows of D coordinates, Q queries.

No build, search or check holds the GIL. Wrong shapes and numbers out of range raise ValueError.
"""

from collections.abc import Callable, Collection, Sequence
from typing import final

import numpy as np
import numpy.typing as npt

from retrieval.index.query import RowQuery

_Floats = npt.NDArray[np.float32]

Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], list[int], list[bool], list[int], list[int]]
"""Rows and scores of all queries, one after another, best first; per query how many they are, whether a budget cut its
search short, how it was answered (0 nothing to, 1 walk, 2 scan, 3 leaves), how many rows were compared."""

class DamagedError(ValueError):
    """A file that does not hold what it should."""

class UnreachableError(OSError):
    """A file that can't be read or written."""

def instruction_sets() -> list[str]:
    """Instruction sets that this processor can run the core with, the one in use first: avx512, avx2, portable."""

def write_leaves(
    vectors: _Floats,
    index_path: str,
    *,
    m: int,
    threads: int,
    starts: npt.NDArray[np.uint32],
    centres: _Floats,
    rows_per_ef: int,
) -> None:
    """Write an index of `vectors` [n, D] that stand in leaves, at least one, to `index_path`, without links.

    `rows_per_ef` is that of an index of mostly the same vectors (`Index.leaves`). Raises UnreachableError.
    """

def build(
    vectors: _Floats,
    index_path: str,
    hnsw_path: str,
    *,
    m: int,
    ef_construction: int,
    alpha: float,
    seed: int,
    threads: int,
    starts: npt.NDArray[np.uint32],
    centres: _Floats,
    ef_search: int,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Build a graph of `vectors` [n, D], L2-normalised; write it to `index_path`, and to `hnsw_path` as hnswlib does.

    `starts` and `centres` are those that `arrange` gave, and the vectors stand in its order; [0] and [] do without
    leaves. Links are looked for in the leaves if most near rows are found there. How far searches look into leaves is
    tuned to find what a walk with `ef_search` finds; `index_path` holds links only where no tuning does.

    The same input gives the same files whatever the number of `threads` (0: all cores). `progress` is told how many
    rows are linked. Raises UnreachableError.
    """

def arrange(
    vectors: _Floats, *, seed: int, threads: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32], _Floats]:
    """An order of `vectors` [n, D] in which near ones stand together.

    Order uint32 [n], the row that belongs at each place; starts uint32 [L + 1], the first place of each leaf; centres
    float32 [L * D]. Few vectors have no leaves (L = 0).

    The same whatever the number of `threads` (0: all cores).
    """

def id_hashes(ends: npt.NDArray[np.int32], text: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """The hash of each text, as `ItemIds` takes them; `ends` and `text` are as there."""

@final
class ItemIds:
    """Item ids both ways, over arrays that it keeps and does not copy. Thread-safe.

    Id r is the UTF-8 from `ends`[r] to `ends`[r + 1] in `text`, `ends` [n + 1]; `hashes` [n] ascend, each with its
    row in `rows` [n].
    Every access is checked against the bounds, so that files that change after they were verified can't lead astray.
    """

    def __init__(
        self,
        ends: npt.NDArray[np.int32],
        text: npt.NDArray[np.uint8],
        hashes: npt.NDArray[np.uint64],
        rows: npt.NDArray[np.uint32],
    ) -> None: ...
    def __len__(self) -> int: ...
    def verify(self, texts_path: str, lookup_path: str) -> None:
        """Check bounds, order, that every row has the hash of its id, once, and that no id stands twice.

        Raises DamagedError that names one of the paths.
        """
    def names(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """The ids of `rows` [k]. Raises ValueError out of bounds."""
    def rows(self, item_ids: Collection[str]) -> npt.NDArray[np.uint32]:
        """The rows of those ids that are here, in the order of the ids."""

def search_vectors(rows: _Floats, vectors: _Floats, queries: Sequence[RowQuery], *, threads: int) -> Found:
    """Exact search over `rows` [n, D] for `queries`, whose vectors are `vectors` [Q, D]; as `Index.search` but for ef.

    A query that a budget ends has been compared with the first rows only.
    """

@final
class Index:
    """A mapped index file: opened in milliseconds, its pages shared by all processes. Thread-safe once calibrated.

    The constructor checks the header and the size: it raises DamagedError or UnreachableError.
    """

    def __init__(self, path: str) -> None: ...
    @property
    def count(self) -> int:
        """Rows."""

    @property
    def dim(self) -> int:
        """Coordinates of a row."""

    @property
    def m(self) -> int:
        """Links of a node in the upper levels; twice as many in the lowest."""

    @property
    def bytes(self) -> int:
        """Size of the file."""
    @property
    def costs(self) -> tuple[float, float, float, float, float]:
        """Nanoseconds of a row whose links are followed, of a scanned row, of a row scanned
        through a filter, of ranking a leaf, and of a row in a leaf.
        """
    @property
    def leaves(self) -> tuple[int, int]:
        """How many leaves there are, and how many of their rows one more of ef compares; (0, 0): links instead."""
    def verify(self, vectors: _Floats | None, *, threads: int) -> None:
        """Check every field that a search follows, the checksum, and that the codes are those of `vectors` [n, D].

        Raises DamagedError. No search may be asked of an index that was not verified.
        """
    def calibrate(self, ef: int) -> None:
        """Time a few searches with `ef`, and plan by that from now on. Not while others search."""
    def search(
        self, vectors: _Floats, queries: Sequence[RowQuery], *, threads: int = 1, no_scan: bool = False
    ) -> Found:
        """The best rows for each of `queries`, whose vectors are `vectors` [Q, D].

        `allowed.count` is taken for the number of bits set; an ef below k counts as k. The same input gives the same
        output, whatever the batch and `threads` (0: all cores), but where time ends a search. `no_scan` looks into
        leaves or follows links even where a scan is cheaper.
        """
