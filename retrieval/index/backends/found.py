"""What the native core found, as hits."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from retrieval.index.query import RowHits

if TYPE_CHECKING:
    from retrieval.index._native import Found  # a name of the stub only


def row_hits(found: Found) -> list[RowHits]:
    """The hits of each query, cut out of the columns of all of them."""
    rows, scores, counts, truncated = found[:4]
    return [
        RowHits(rows[end - n : end], scores[end - n : end], cut)
        for end, n, cut in zip(accumulate(counts), counts, truncated, strict=True)
    ]
