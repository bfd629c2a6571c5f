"""A small world to serve, for tests: a store with versions of different weights, a build of each, and a user store.

world = make_world(tmp_path, versions=2)
world.store, world.dataset, world.builds[0]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from retrieval.data import Dataset
from retrieval.features import FeatureSpec
from retrieval.index.build import build_index
from retrieval.index.config import IndexConfig
from retrieval.index.contents import make_contents
from retrieval.serving.users.loading import user_records
from retrieval.serving.users.store import UserStore
from retrieval.storage import ArtifactStore
from retrieval.towers.config import TowerConfig
from retrieval.towers.loading import load_item_tower
from retrieval.types import BuildId, ModelVersion
from tests.tiny import TINY_FEATURES, TINY_TOWERS, Tiny, tiny_dataset, tiny_version

MODEL = "demo"


@dataclass(frozen=True)
class World:
    root: Path
    store: ArtifactStore
    dataset: Dataset
    versions: list[Tiny]
    builds: list[BuildId]

    @property
    def users(self) -> Path:
        return self.root / "users.lmdb"


def make_world(
    root: Path,
    *,
    versions: int = 2,
    shards: int = 2,
    users: int = 60,
    items: int = 120,
    spec: FeatureSpec = TINY_FEATURES,
    interests: Sequence[int] = (1,),
    ann: Literal["native", "hnswlib", "exact"] = "native",
) -> World:
    """Versions demo@1 … with builds b1 …, published under `root`/store; users in `root`/users.lmdb.

    `interests` of the versions, in turn.
    """
    dataset = tiny_dataset(root, users=users, items=items)
    store = ArtifactStore.create(str(root / "store"), cache=root / "cache")
    config = IndexConfig(
        shards=shards, ann=ann, min_recall=0.0, ef_search=50, measured_k=10, recall_queries=20, threads=1
    )
    contents = make_contents(dataset.items, config, snapshot=dataset.snapshot, at_us=dataset.histories.last_us)
    made, builds = [], []
    for number in range(1, versions + 1):
        version = ModelVersion(MODEL, number)
        towers = TowerConfig.model_validate(
            {**TINY_TOWERS.model_dump(), "interests": interests[(number - 1) % len(interests)]}
        )
        made.append(tiny_version(store, version, dataset, seed=number, towers=towers, spec=spec))
        tower = load_item_tower(store, version, device="cpu")
        build_index(store, tower, contents, BuildId(MODEL, number), config, show=False)
        builds.append(BuildId(MODEL, number))
    with_users(root / "users.lmdb", dataset)
    return World(root, store, dataset, made, builds)


def with_users(folder: Path, dataset: Dataset) -> None:
    store = UserStore.create(folder, gib=1)
    for _ in store.load(user_records(dataset)):
        pass
    store.close()


def some_users(world: World) -> Iterator[str]:
    yield from world.dataset.histories.user_ids.to_pylist()
