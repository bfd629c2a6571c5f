"""Nearest items of a few example items: what the item tower takes for alike. N items, C candidates, D width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Ints
from retrieval.data.splits import evenly_spaced

NEAREST = 8
_EACH = 4


@dataclass(frozen=True)
class Item:
    """A catalog row with its training events."""

    row: int
    count: int


@dataclass(frozen=True)
class Neighbourhood:
    """An example item and why it was chosen; its nearest candidates with their cosines, nearest first."""

    item: Item
    why: str
    nearest: tuple[tuple[Item, float], ...]


def example_items(counts: Ints, columns: Ints) -> list[tuple[int, str]]:
    """Catalog rows of 12 candidates and what they stand for: popular, middling, and rare or new ones.

    `counts` int64 [C] are the candidates' training events, `columns` int64 [C] their catalog rows. The same counts
    give the same examples; with few candidates, fewer.
    """
    order = np.lexsort((columns, -counts))
    known = order[counts[order] > 0]
    new = order[counts[order] == 0]
    middle = max(0, len(known) // 2 - _EACH // 2)
    rare = known[::-1][: _EACH - min(len(new), _EACH // 2)]
    groups = {
        "most popular": known[:_EACH],
        "middling": known[middle : middle + _EACH],
        "rare": rare,
        "not in training": evenly_spaced(new, _EACH - len(rare)),
    }
    found: dict[int, str] = {}
    for why, places in groups.items():
        for place in places.tolist():
            found.setdefault(int(columns[place]), why)
    return list(found.items())


def neighbourhoods(
    vectors: npt.NDArray[np.float32], chosen: Sequence[tuple[int, str]], counts: Ints, columns: Ints
) -> tuple[Neighbourhood, ...]:
    """The nearest candidates of some catalog rows by cosine, themselves left out; `vectors` float32 [N, D].

    `counts` int64 [N] are the training events of the whole catalog, `columns` int64 [C] the candidates' rows.
    """
    corpus = _unit(vectors[columns])
    return tuple(_around(vectors, corpus, row=row, why=why, counts=counts, columns=columns) for row, why in chosen)


def _around(
    vectors: npt.NDArray[np.float32],
    corpus: npt.NDArray[np.float32],
    *,
    row: int,
    why: str,
    counts: Ints,
    columns: Ints,
) -> Neighbourhood:
    cosines = corpus @ _unit(vectors[row : row + 1])[0]
    cosines[columns == row] = -np.inf
    best = np.lexsort((columns, -cosines))[:NEAREST]
    nearest = tuple(
        (Item(int(columns[place]), int(counts[columns[place]])), float(cosines[place]))
        for place in best
        if np.isfinite(cosines[place])
    )
    return Neighbourhood(Item(row, int(counts[row])), why, nearest)


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)
