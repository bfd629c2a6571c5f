"""A tiny but real dataset and model version, for tests of every room: `from tests.tiny import …`.

    dataset = tiny_dataset(tmp_path / "workspace")            # 60 users, 40 items, profile, item features, context
    made = tiny_version(store, ModelVersion("demo", 1), dataset)   # exported with untrained weights, 1-5 s
    made.pair, made.features, made.manifest, made.space_id

Different `seed`s give different embedding spaces.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from retrieval.data import DataConfig, Dataset, Split, leave_one_out, open_dataset
from retrieval.features import Features, FeatureSpec, fit_features
from retrieval.storage import ArtifactStore, Manifest
from retrieval.towers.config import TowerConfig
from retrieval.types import ModelVersion, SpaceId

if TYPE_CHECKING:
    from retrieval.workflows.workspace import Workspace

START_US = 1_700_000_000_000_000
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
TINY_SETTINGS = """
model.name = "demo"
[data]
events = "data/events.parquet"
users = "data/users.parquet"
items = "data/items.parquet"
context_columns = ["device"]
"""
"""How a workspace's retrieval.toml begins, for what `write_tiny` writes."""
TINY_CONFIG = DataConfig(
    events="data/events.parquet",
    users="data/users.parquet",
    items="data/items.parquet",
    context_columns=("device",),
)
TINY_TOWERS = TowerConfig(dim=16, blocks=2, heads=2, expansion=2, dropout=0.1)
TINY_FEATURES = FeatureSpec.model_validate_json(
    json.dumps(
        {
            "history": {"length": 12},
            "user": [{"kind": "categorical", "name": "country"}, {"kind": "numeric", "name": "height"}],
            "item": [
                {"kind": "categorical", "name": "colour"},
                {"kind": "multi_categorical", "name": "tags", "max_values": 3},
                {"kind": "text", "name": "title", "buckets": 64},
                {"kind": "vector", "name": "content", "size": 4},
            ],
            "context": [
                {"kind": "categorical", "name": "device"},
                {"kind": "time", "name": "now", "parts": ["hour"]},
                {"kind": "since_last", "name": "since_last"},
            ],
        }
    )
)


@dataclass(frozen=True)
class Tiny:
    """An exported version, and what it was made from."""

    version: ModelVersion
    space_id: SpaceId
    manifest: Manifest
    features: Features
    split: Split
    pair: object
    """The torch TowerPair that was exported."""


def make_workspace(root: Path, settings: str = TINY_SETTINGS) -> Workspace:
    """A workspace with these settings, its registry and stores made and empty."""
    # here, so that towers and training can be tested where no registry can be had
    from retrieval.workflows.workspace import Workspace
    from retrieval.workflows.workspace.upgrade import upgrade_workspace

    (root / "retrieval.toml").write_text(settings, encoding="utf-8")
    workspace = Workspace.open(root)
    upgrade_workspace(workspace)
    return workspace


def write_tiny(root: Path, *, users: int = 60, items: int = 40, events: int = 20, seed: int = 0) -> DataConfig:
    """Write Parquet events (2 … `events` a user), users and items below `root`; returns the settings that read them.

    Ids are `u0`, `u1`, … and `i0`, `i1`, …; users like one of four colours, so there is something to learn.
    """
    rng = np.random.default_rng(seed)
    folder = root / "data"
    folder.mkdir(parents=True, exist_ok=True)
    counts = rng.integers(2, events + 1, users)
    user = np.repeat(np.arange(users), counts)
    liked = rng.integers(0, 4, users)[user]
    own = rng.integers(0, max(items // 4, 1), len(user)) * 4 + liked
    item = np.where(rng.random(len(user)) < 0.8, own, rng.integers(0, items, len(user))) % items
    at = START_US + rng.integers(0, 30 * 24, len(user)) * HOUR_US
    table = pa.table(
        {
            "user_id": [f"u{u}" for u in user],
            "item_id": [f"i{i}" for i in item],
            "timestamp": pa.array(at, pa.int64()),
            "action": rng.choice(["click", "save"], len(user)),
            "device": rng.choice(["phone", "desk"], len(user)),
        }
    )
    pq.write_table(table, folder / "events.parquet")
    people = {
        "user_id": [f"u{u}" for u in range(users)],
        "country": rng.choice(["DE", "FR", "BR"], users),
        "height": rng.normal(170, 10, users),
    }
    pq.write_table(pa.table(people), folder / "users.parquet")
    things = {
        "item_id": [f"i{i}" for i in range(items)],
        "colour": [("red", "green", "blue", "grey")[i % 4] for i in range(items)],
        "tags": [[f"t{i % 5}", f"t{i % 3}"] for i in range(items)],
        "title": [f"thing number {i}" for i in range(items)],
        "content": rng.normal(size=(items, 4)).astype(np.float32).tolist(),
        "price": rng.uniform(1, 100, items),
    }
    pq.write_table(pa.table(things), folder / "items.parquet")
    return TINY_CONFIG


def tiny_dataset(root: Path, *, users: int = 60, items: int = 40, events: int = 20, seed: int = 0) -> Dataset:
    """The dataset that `write_tiny` writes, opened."""
    return open_dataset(write_tiny(root, users=users, items=items, events=events, seed=seed), root, show=False)


def registered_version(
    workspace: Workspace,
    dataset: Dataset,
    version: ModelVersion,
    *,
    seed: int = 0,
    spec: FeatureSpec = TINY_FEATURES,
) -> Tiny:
    """A `tiny_version` in the workspace's store, ready in its registry."""
    from contextlib import closing

    from retrieval.registry import VersionRow

    made = tiny_version(workspace.store(), version, dataset, seed=seed, spec=spec)
    key = f"models/{version.model}/{version.version}"
    with closing(workspace.registry()) as registry:
        registry.add_version(
            VersionRow(model=version.model, version=version.version, space_id=made.space_id, key=key, state="ready")
        )
    return made


def tiny_version(
    store: ArtifactStore,
    version: ModelVersion,
    dataset: Dataset,
    *,
    seed: int = 0,
    towers: TowerConfig = TINY_TOWERS,
    spec: FeatureSpec = TINY_FEATURES,
) -> Tiny:
    """Export a version with freshly initialised towers into the store."""
    from retrieval.towers.offline import item_inputs
    from retrieval.towers.pair import build_pair
    from retrieval.training.export import export_version

    split = leave_one_out(dataset.histories)
    features = fit_features(spec, dataset, split)
    pair = build_pair(towers, features, seed)
    items = item_inputs(dataset, features, dataset.histories.last_us)
    manifest = export_version(store, version, pair, features, items, facts={"settings": {}, "seed": seed})
    return Tiny(version, SpaceId(manifest.facts["space_id"]), manifest, features, split, pair)
