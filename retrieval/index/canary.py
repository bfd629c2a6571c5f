"""Canary queries with their exact answers: what a shard must still find when it is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from retrieval.arrays import Rows, Vectors
from retrieval.errors import ArtifactError
from retrieval.index.metadata import ShardMetadata
from retrieval.index.query import RowHits, Searcher
from retrieval.index.scan import scan
from retrieval.storage.arrow import read_arrow, write_arrow

CANARY = "canary.arrow"
SCORE_TOLERANCE = 1e-5
_TIE = 1e-6  # scores of unit vectors so close are equal: sums of float32 end in another digit by their order


@dataclass(frozen=True, slots=True)
class Canary:
    """Queries float32 [C, D] and the exact answer to each: rows and scores of its best `k`."""

    queries: Vectors
    answers: list[RowHits]


def make_canary(vectors: Vectors, queries: Vectors, k: int) -> Canary:
    """The canary of a shard: `queries` and what exact search answers to them."""
    return Canary(queries, scan(vectors, queries, k) if len(vectors) else [])


def write_canary(folder: Path, canary: Canary) -> None:
    """Write `folder`/canary.arrow."""
    flat = pa.array(canary.queries.reshape(-1), pa.float32())
    table = pa.table(
        {
            "query": pa.FixedSizeListArray.from_arrays(flat, canary.queries.shape[1]),
            "rows": pa.array([answer.rows for answer in canary.answers], pa.list_(pa.int64())),
            "scores": pa.array([answer.scores for answer in canary.answers], pa.list_(pa.float32())),
        }
    )
    write_arrow(folder / CANARY, table)


def read_canary(folder: Path, metadata: ShardMetadata) -> Canary:
    """Read `folder`/canary.arrow. Raises ArtifactError."""
    path = folder / CANARY
    try:
        table = read_arrow(path)
        table.validate(full=True)
        queries = np.array(table["query"].to_pylist(), dtype=np.float32).reshape(-1, metadata.dim)
        answers = [
            RowHits(np.array(rows, dtype=np.int64), np.array(scores, dtype=np.float32))
            for rows, scores in zip(table["rows"].to_pylist(), table["scores"].to_pylist(), strict=True)
        ]
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError, MemoryError) as error:
        raise ArtifactError(f"{path}: not a readable canary of dimension {metadata.dim}: {error}") from error
    if len(queries) != len(answers) or not np.isfinite(queries).all():
        raise ArtifactError(f"{path}: {len(queries)} queries, {len(answers)} answers: damaged")
    return Canary(queries, answers)


def check_answers(folder: Path, vectors: Vectors, canary: Canary) -> None:
    """Raise ArtifactError unless exact search over `vectors` still gives the canary's answers."""
    path = folder / CANARY
    if bool(len(vectors)) != bool(canary.answers):
        raise ArtifactError(f"{path}: {len(canary.answers)} canary queries for {len(vectors)} items: damaged")
    if not canary.answers:
        return
    found = scan(vectors, canary.queries, max(1, *(len(answer.rows) for answer in canary.answers)))
    for position, (query, (rows, scores, _)) in enumerate(zip(canary.queries, canary.answers, strict=True)):
        valid = len(rows) > 0 and rows.min() >= 0 and rows.max() < len(vectors) and len(rows) == len(scores)
        if not valid or len(np.unique(rows)) != len(rows):
            raise ArtifactError(f"{path}: canary query {position} has an impossible answer: damaged or swapped")
        # Rows of equal score may swap places between machines; scores may not move
        if not (_close(found[position].scores[: len(rows)], scores) and _close(vectors[rows] @ query, scores)):
            raise ArtifactError(f"{path}: canary query {position} is answered otherwise by these vectors: swapped")


def _close(found: Vectors, expected: Vectors) -> bool:
    return found.shape == expected.shape and np.allclose(found, expected, rtol=0, atol=SCORE_TOLERANCE)


def approximate_recall(searcher: Searcher, vectors: Vectors, canary: Canary, ef: int) -> float:
    """Recall on the canary with the ef that serves, without scans; 1.0 for exact search."""
    if not canary.answers:
        return 1.0
    exact = [answer.rows for answer in canary.answers]
    found = searcher.approximate(canary.queries, min(max(ef, *(len(rows) for rows in exact)), len(vectors)))
    if found is None:
        return 1.0
    first = [rows[: len(want)] for rows, want in zip(found, exact, strict=True)]
    return recall(vectors, canary.queries, first, exact)


def recall(vectors: Vectors, queries: Vectors, found: Sequence[Rows], exact: Sequence[Rows]) -> float:
    """Mean share of each exact answer that was found; 1.0 for nothing to find.

    A row counts as found where its score is that of the exact answer's last row at least: of rows with equal scores
    any is right. `queries` [Q, D], or [Q, E, D] of users with several vectors, whose best score counts.
    """
    shares = []
    for query, have, want in zip(queries, found, exact, strict=True):
        if not len(want):
            continue
        least = _scores(vectors, query, want).min()
        right = np.count_nonzero(_scores(vectors, query, have) >= least - _TIE)
        shares.append(min(1.0, right / len(want)))
    return float(np.mean(shares)) if shares else 1.0


def _scores(vectors: Vectors, query: Vectors, rows: Rows) -> Vectors:
    """float32 [n]: of each row the largest inner product with `query` [D] or [E, D]."""
    best: Vectors = (vectors[rows] @ np.atleast_2d(query).T).max(axis=1, initial=-np.inf)
    return best
