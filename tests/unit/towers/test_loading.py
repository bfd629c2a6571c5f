from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
import torch

from retrieval.data import Dataset
from retrieval.errors import ConfigError, ConflictError, DataError
from retrieval.storage import ArtifactStore, read_manifest
from retrieval.towers.loading import load_item_tower
from retrieval.towers.offline import item_inputs
from retrieval.types import ModelVersion
from tests.tiny import Tiny, tiny_version


def test_vectors_are_those_of_the_trained_tower(store: ArtifactStore, tiny: Tiny, dataset: Dataset) -> None:
    tower = load_item_tower(store, tiny.version, device="cpu")
    at = dataset.histories.last_us
    inputs = item_inputs(dataset, tiny.features, at)
    with torch.no_grad():
        expected = tiny.pair.item(inputs.by_item).numpy()  # type: ignore[attr-defined]
    found = tower.encode(dataset.items, at, batch_size=7)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    assert (tower.version, tower.space_id, tower.dim) == (tiny.version, tiny.space_id, 16)


def test_an_item_never_seen_gets_its_vector_from_its_features(store: ArtifactStore, tiny: Tiny) -> None:
    tower = load_item_tower(store, tiny.version, device="cpu")
    new = pa.table({"item_id": ["new1", "new2", "new3"], "colour": ["red", "red", "blue"]})
    first, same, other = tower.encode(new, 0)
    np.testing.assert_allclose(first, same, atol=1e-6)
    assert np.abs(first - other).max() > 1e-4


def test_no_items_are_no_vectors(store: ArtifactStore, tiny: Tiny) -> None:
    tower = load_item_tower(store, tiny.version, device="cpu")
    assert tower.encode(pa.table({"item_id": pa.array([], pa.string())}), 0).shape == (0, 16)


def test_a_column_of_a_wrong_type_is_named(store: ArtifactStore, tiny: Tiny) -> None:
    tower = load_item_tower(store, tiny.version, device="cpu")
    with pytest.raises(DataError, match="content"):
        tower.encode(pa.table({"item_id": ["i1"], "content": ["words"]}), 0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(store: ArtifactStore, tiny: Tiny) -> None:
    with pytest.raises(ConfigError, match="cuda"):
        load_item_tower(store, tiny.version, device="cuda")


def test_a_version_holds_what_the_design_asks_for(store: ArtifactStore, tiny: Tiny, other: Tiny) -> None:
    facts = read_manifest(store.locate("models/demo/1"), kind="model_version").facts
    assert (facts["model"], facts["version"], facts["dim"], facts["metric"]) == ("demo", 1, 16, "cosine")
    assert facts["space_id"] == tiny.space_id != other.space_id
    for half in ("user_tower", "item_tower", "features"):
        own = read_manifest(store.locate(f"models/demo/1/{half}"), kind=half).facts
        assert (own["version"], own["space_id"]) == (1, tiny.space_id)
    meta = json.loads((store.locate("models/demo/1/user_tower") / "meta.json").read_text())
    assert meta["encoder"] == "hstu"
    assert meta["history_length"] == 12


def test_a_version_is_never_overwritten(store: ArtifactStore, tiny: Tiny, dataset: Dataset) -> None:
    with pytest.raises(ConflictError, match="never overwritten"):
        tiny_version(store, tiny.version, dataset, seed=9)
    assert load_item_tower(store, tiny.version, device="cpu").space_id == tiny.space_id


def test_the_same_weights_again_are_the_same_space(store: ArtifactStore, tiny: Tiny, dataset: Dataset) -> None:
    again = tiny_version(store, ModelVersion("demo", 3), dataset, seed=0)
    assert again.space_id == tiny.space_id
