from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from retrieval.index.build import BuildReport, build_index
from retrieval.index.config import IndexConfig
from retrieval.index.corpus import make_corpus
from retrieval.index.shard import Shard, open_shard
from retrieval.storage import ArtifactStore
from retrieval.types import BuildId, ModelVersion, SpaceId

DIM = 16


def clustered(count: int, dim: int = DIM, seed: int = 0) -> np.ndarray:
    """float32 [count, dim], L2-normalised, in clusters of unequal size."""
    random = np.random.default_rng(seed)
    clusters = max(2, count // 50)
    share = 1 / np.arange(1, clusters + 1)
    centres = random.normal(size=(clusters, dim))
    made = centres[random.choice(clusters, count, p=share / share.sum())] + 0.5 * random.normal(size=(count, dim))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


@dataclass
class StandInTower:
    """Encodes the item with number i in its column `number` as row i of a table."""

    table: np.ndarray
    version: ModelVersion
    space_id: SpaceId
    calls: list[int] = field(default_factory=list)

    @property
    def dim(self) -> int:
        return self.table.shape[1]

    def encode(self, items: pa.Table, at_us: int, batch_size: int) -> np.ndarray:
        self.calls.append(items.num_rows)
        return self.table[items["number"].to_numpy()]


def make_items(count: int) -> pa.Table:
    """Items i0, i1, … with attributes of every kind; every 7th has none."""
    number = np.arange(count)
    missing = number % 7 == 6

    def with_nulls(values: list[object], kind: pa.DataType) -> pa.Array:
        return pa.array([None if m else v for v, m in zip(values, missing, strict=True)], kind)

    return pa.table(
        {
            "item_id": pa.array([f"i{i}" for i in number]),
            "number": pa.array(number),
            "colour": with_nulls([("red", "green", "blue")[i % 3] for i in number], pa.string()),
            "price": with_nulls([float(i % 100) for i in number], pa.float32()),
            "year": with_nulls([int(1990 + i % 30) for i in number], pa.int16()),
            "on_sale": with_nulls([bool(i % 2) for i in number], pa.bool_()),
            "genres": with_nulls([[f"g{i % 5}", f"g{i % 11}"][: i % 3] for i in number], pa.list_(pa.string())),
            "seen_at": with_nulls([int(i) * 1000 for i in number], pa.timestamp("ms")),
            "blob": with_nulls([b"x" for _ in number], pa.binary()),
        }
    )


@dataclass
class Built:
    store: ArtifactStore
    folder: Path
    report: BuildReport
    vectors: np.ndarray
    """By item number, not by row."""

    def shard(self, number: int = 0) -> Shard:
        return open_shard(self.shard_folder(number))

    def shard_folder(self, number: int = 0) -> Path:
        return self.folder / f"shard-{number}-of-{len(self.report.shards)}"


def build(
    root: Path,
    count: int = 1000,
    *,
    dim: int = DIM,
    seed: int = 0,
    number: int = 1,
    version: int = 1,
    space_id: str = "5" * 64,
    at_us: int = 0,
    **settings: object,
) -> Built:
    vectors = clustered(count, dim, seed)
    tower = StandInTower(vectors, ModelVersion("demo", version), SpaceId(space_id))
    config = IndexConfig(**{"threads": 1, "ef_construction": 64, "recall_queries": 100, **settings})
    store = ArtifactStore.create(str(root), cache=root / "cache")
    corpus = make_corpus(make_items(count), config, snapshot="made", at_us=at_us)
    report = build_index(store, tower, corpus, BuildId("demo", number), config, show=False)
    return Built(store, root / report.key, report, vectors)


@pytest.fixture(scope="session")
def make_build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Built]:
    """Builds of a stand-in tower, each in a store of its own; the same arguments share one build (read it only)."""
    made: dict[str, Built] = {}

    def once(count: int = 1000, **settings: object) -> Built:
        key = repr((count, sorted(settings.items())))
        if key not in made:
            made[key] = build(tmp_path_factory.mktemp("store"), count, **settings)
        return made[key]

    return once


@pytest.fixture(scope="session")
def build_at() -> Callable[..., Built]:
    """Build into a store at a given folder."""
    return build


@pytest.fixture(scope="session")
def make_vectors() -> Callable[..., np.ndarray]:
    """Clustered, normalised vectors."""
    return clustered


@pytest.fixture(scope="session")
def items_table() -> Callable[[int], pa.Table]:
    """Items with attributes of every kind."""
    return make_items


@pytest.fixture
def graph_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make scanning look dear, so that the planner uses the graph wherever it can."""
    monkeypatch.setattr("retrieval.index.graph_search._SCANNED_ROW", 1e9)
    monkeypatch.setattr("retrieval.index.graph_search._GATHERED_ROW", 1e9)
