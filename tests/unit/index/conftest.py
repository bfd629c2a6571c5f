from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from retrieval.index.build import BuildReport, build_index
from retrieval.index.config import IndexConfig
from retrieval.index.contents import make_contents
from retrieval.index.shard import Shard, open_shard
from retrieval.storage import ArtifactStore
from retrieval.types import BuildId, ModelVersion, SpaceId
from tests.items import make_items

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

    def inputs(self, items: pa.Table, at_us: int) -> dict[str, np.ndarray]:
        return {"number": items["number"].to_numpy()}

    def embed(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        self.calls.append(len(inputs["number"]))
        return self.table[inputs["number"]]


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
    contents = make_contents(make_items(count), config, snapshot="made", at_us=at_us)
    report = build_index(store, tower, contents, BuildId("demo", number), config, show=False)
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
def stand_in() -> type[StandInTower]:
    """A tower that looks vectors up."""
    return StandInTower


@pytest.fixture
def graph_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make scanning look dear, so that the planner uses the graph wherever it can."""
    monkeypatch.setattr("retrieval.index.graph_search._SCANNED_ROW", 1e9)
    monkeypatch.setattr("retrieval.index.graph_search._GATHERED_ROW", 1e9)
