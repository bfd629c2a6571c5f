"""Canary queries with their exact answers, and golden items with their embeddings: what a shard must still answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.errors import ArtifactError
from retrieval.index.backends import Graph
from retrieval.index.metadata import ShardMetadata
from retrieval.index.scan import Answer, scan

CANARY = "canary.arrow"
GOLDEN = "golden.json"
Floats = npt.NDArray[np.float32]
SCORE_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Canary:
    """Queries float32 [C, D] and the exact answer to each: rows and scores of its best `k`."""

    queries: Floats
    answers: list[Answer]


def make_canary(vectors: Floats, queries: Floats, k: int) -> Canary:
    """The canary of a shard: `queries` and what exact search answers to them."""
    return Canary(queries, scan(vectors, queries, k) if len(vectors) else [])


def write_canary(folder: Path, canary: Canary) -> None:
    """Write `folder`/canary.arrow."""
    flat = pa.array(canary.queries.reshape(-1), pa.float32())
    table = pa.table(
        {
            "query": pa.FixedSizeListArray.from_arrays(flat, canary.queries.shape[1]),
            "rows": pa.array([rows for rows, _ in canary.answers], pa.list_(pa.int64())),
            "scores": pa.array([scores for _, scores in canary.answers], pa.list_(pa.float32())),
        }
    )
    with pa.OSFile(str(folder / CANARY), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)


def read_canary(folder: Path, metadata: ShardMetadata) -> Canary:
    """Read `folder`/canary.arrow. Raises ArtifactError."""
    path = folder / CANARY
    try:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
            table.validate(full=True)
        queries = np.array(table["query"].to_pylist(), dtype=np.float32).reshape(-1, metadata.dim)
        answers = [
            (np.array(rows, dtype=np.int64), np.array(scores, dtype=np.float32))
            for rows, scores in zip(table["rows"].to_pylist(), table["scores"].to_pylist(), strict=True)
        ]
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError, MemoryError) as error:
        raise ArtifactError(f"{path}: not a readable canary of dimension {metadata.dim}: {error}") from error
    if len(queries) != len(answers) or not np.isfinite(queries).all():
        raise ArtifactError(f"{path}: {len(queries)} queries, {len(answers)} answers: damaged")
    return Canary(queries, answers)


def check_answers(folder: Path, vectors: Floats, canary: Canary) -> None:
    """Raise ArtifactError unless exact search over `vectors` still gives the canary's answers."""
    path = folder / CANARY
    if bool(len(vectors)) != bool(canary.answers):
        raise ArtifactError(f"{path}: {len(canary.answers)} canary queries for {len(vectors)} items: damaged")
    if not canary.answers:
        return
    found = scan(vectors, canary.queries, max(len(rows) for rows, _ in canary.answers))
    for position, (query, (rows, scores)) in enumerate(zip(canary.queries, canary.answers, strict=True)):
        valid = len(rows) > 0 and rows.min() >= 0 and rows.max() < len(vectors) and len(rows) == len(scores)
        if not valid or len(np.unique(rows)) != len(rows):
            raise ArtifactError(f"{path}: canary query {position} has an impossible answer: damaged or swapped")
        # Rows of equal score may swap places between machines; scores may not move
        if not (_close(found[position][1][: len(rows)], scores) and _close(vectors[rows] @ query, scores)):
            raise ArtifactError(f"{path}: canary query {position} is answered otherwise by these vectors: swapped")


def _close(found: Floats, expected: Floats) -> bool:
    return found.shape == expected.shape and np.allclose(found, expected, rtol=0, atol=SCORE_TOLERANCE)


def graph_recall(graph: Graph | None, canary: Canary, metadata_ef: int, count: int) -> float:
    """Recall of the graph alone on the canary, at the effort that serves; 1.0 for exact search."""
    if graph is None or not canary.answers:
        return 1.0
    exact = [rows for rows, _ in canary.answers]
    k = max(len(rows) for rows in exact)
    found = graph.nearest(canary.queries, min(max(metadata_ef, k), count))
    if found is None:
        return 0.0
    return recall([rows[: len(want)] for rows, want in zip(found[0], exact, strict=True)], exact)


def recall(found: Sequence[npt.NDArray[np.int64]], exact: Sequence[npt.NDArray[np.int64]]) -> float:
    """Mean share of each exact answer that was found; 1.0 for nothing to find."""
    shares = [len(np.intersect1d(have, want)) / len(want) for have, want in zip(found, exact, strict=True) if len(want)]
    return float(np.mean(shares)) if shares else 1.0


@dataclass(frozen=True, slots=True)
class GoldenItem:
    """One item's raw columns and the embedding float32 [D] that its shard holds for it."""

    item_id: str
    row: int
    columns: dict[str, object]
    embedding: Floats


def write_golden(folder: Path, space_id: str, at_us: int, items: Sequence[GoldenItem]) -> None:
    """Write `folder`/golden.json; `at_us` is the time that the items were encoded for."""
    body = {
        "space_id": space_id,
        "at_us": at_us,
        "items": [
            {"item_id": g.item_id, "row": g.row, "columns": g.columns, "embedding": [float(x) for x in g.embedding]}
            for g in items
        ],
    }
    (folder / GOLDEN).write_text(json.dumps(body, indent=1, default=str), encoding="utf-8")


def read_golden(folder: Path, metadata: ShardMetadata) -> list[GoldenItem]:
    """Read `folder`/golden.json. Raises ArtifactError where it is damaged or of another space."""
    path = folder / GOLDEN
    try:
        body = json.loads(path.read_bytes())
        if body["space_id"] != metadata.space_id:
            raise ArtifactError(f"{path}: of space {body['space_id']}, expected {metadata.space_id}: swapped")
        items = [
            GoldenItem(str(g["item_id"]), int(g["row"]), dict(g["columns"]), np.array(g["embedding"], np.float32))
            for g in body["items"]
        ]
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise ArtifactError(f"{path}: damaged: {error!r}") from error
    if not items and metadata.count:
        raise ArtifactError(f"{path}: holds no items, the shard has {metadata.count}: damaged")
    return items


def check_golden(folder: Path, vectors: Floats, item_ids: Sequence[str], items: Sequence[GoldenItem]) -> None:
    """Raise ArtifactError unless the shard's files hold the golden items where, and as, they were."""
    for golden in items:
        here = 0 <= golden.row < len(vectors) and item_ids[golden.row] == golden.item_id
        if not here or not np.array_equal(vectors[golden.row], golden.embedding):
            raise ArtifactError(
                f"{folder / GOLDEN}: item {golden.item_id!r} has another row or embedding here: "
                "vectors.npy, items.arrow or golden.json is of another shard"
            )
