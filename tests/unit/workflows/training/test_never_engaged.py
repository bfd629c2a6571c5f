"""Items in the catalogue that nobody ever engaged with: they take no places from those that earned theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.data import make_split, open_dataset
from retrieval.data.facts.training import item_counts
from retrieval.training.rows_read import fit_read
from retrieval.training.vectors import PairVectors
from retrieval.workflows.training.train import Training
from retrieval.workflows.workspace import Workspace
from tests.tiny import TINY_SETTINGS, make_workspace, write_tiny

ENGAGED, NEVER = 120, 60
SETTINGS = (
    TINY_SETTINGS
    + """\
[corpus]
items = "catalog"
[[features.item]]
kind = "vector"
name = "content"
size = 4
[towers]
dim = 16
expansion = 2
id_dropout = 0.0
[training]
epochs = 4
validate_every = 2
min_batches = 10
threads = 1
"""
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("never")
    write_tiny(root, users=150, items=ENGAGED + NEVER)
    events = pq.read_table(root / "data" / "events.parquet")
    number = np.array([int(item[1:]) for item in events["item_id"].to_pylist()])
    number = np.where(number < ENGAGED, number, number % ENGAGED)  # of the same colour
    column = events.column_names.index("item_id")
    events = events.set_column(column, "item_id", pa.array([f"i{n}" for n in number]))
    pq.write_table(events, root / "data" / "events.parquet")
    return make_workspace(root, SETTINGS)


def _places(vectors: np.ndarray, users: np.ndarray, wanted: np.ndarray) -> float:
    """Of each user's ten best items, the share that is among the wanted ones (bool [N])."""
    best = np.argsort(-(users @ vectors.T), axis=1)[:, :10]
    return float(wanted[best].mean())


def test_never_engaged_items_take_no_places(workspace: Workspace, tmp_path: Path) -> None:
    dataset = open_dataset(workspace.settings.data, workspace.root, show=False)
    split = make_split(workspace.settings.data, dataset.histories)
    features = fit_read(workspace.settings.features, dataset, split, workspace.settings.training)
    made = Training(workspace.settings, dataset, split, features)
    pair = made.train(tmp_path, show=False).pair
    vectors = PairVectors(dataset, features, made.items())
    users = vectors.users(pair, split.valid)
    never = item_counts(dataset.histories, np.asarray(dataset.histories.offsets[1:])) == 0
    assert never.sum() >= NEVER

    items = vectors.items(pair)
    assert np.linalg.norm(items[never], axis=1) == pytest.approx(float(pair.item.unknown_scale), abs=1e-5)
    assert _places(items, users, never) < 0.02
