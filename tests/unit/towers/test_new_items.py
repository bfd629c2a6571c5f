"""Items of the catalogue that training didn't meet, in histories: tokens of their features, the same everywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval.data import Dataset, leave_one_out
from retrieval.features import ITEM_ID, Features, FeatureSpec, fit_features
from retrieval.features.logged import LoggedHistories
from retrieval.storage import ArtifactStore
from retrieval.towers.offline import item_inputs
from retrieval.towers.pair import TowerPair, build_pair
from retrieval.towers.runtime import load_user_tower
from retrieval.towers.user_input import UserInput
from retrieval.training.vectors import PairVectors
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.user_inputs import inputs_at
from tests.tiny import TINY_FEATURES, TINY_TOWERS, tiny_dataset, tiny_version

RARE = {"kind": "id", "name": "item_id", "min_count": 14}
SPEC = FeatureSpec.model_validate(
    {**TINY_FEATURES.model_dump(), "item": (RARE, *(one.model_dump() for one in TINY_FEATURES.item))}
)
WITHOUT = FeatureSpec.model_validate({**TINY_FEATURES.model_dump(), "item": (RARE,)})
VERSION = ModelVersion("demo", 1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return tiny_dataset(tmp_path_factory.mktemp("new"))


@pytest.fixture(scope="module")
def features(dataset: Dataset) -> Features:
    return fit_features(SPEC, dataset, leave_one_out(dataset.histories))


def test_new_items_are_those_that_are_not_known_by_id_but_by_features(dataset: Dataset, features: Features) -> None:
    every = set(dataset.histories.item_ids.to_pylist())
    assert 0 < len(features.new_items) < len(every)
    assert set(features.new_items) == every - set(features.item_vocabulary.words)


def test_without_features_there_are_none(dataset: Dataset) -> None:
    assert fit_features(WITHOUT, dataset, leave_one_out(dataset.histories)).new_items == ()


def test_they_are_saved_and_count_for_the_fingerprint(features: Features, tmp_path: Path) -> None:
    features.save(tmp_path)
    read = Features.load(tmp_path)
    assert read.new_items == features.new_items
    assert read.fingerprint == features.fingerprint
    assert replace(features, new_items=features.new_items[:-1]).fingerprint != features.fingerprint


def test_codes_of_a_request_are_those_of_the_log(dataset: Dataset, features: Features) -> None:
    histories = dataset.histories
    logged = LoggedHistories(histories, features)
    first, last = (np.asarray(edges) for edges in (histories.offsets[:-1], histories.offsets[1:] - 1))
    length = features.spec.history.length
    found = set()
    for user, (start, stop) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        begin = max(start, stop - length)
        from_log = logged.read(*(np.array([row]) for row in (user, begin, stop)))
        ids = [histories.item_ids[item].as_py() for item in histories.items[begin:stop]]
        asked = features.encode_history(ids, (), histories.timestamps[begin:stop])
        assert np.array_equal(from_log.items[0, 1:], asked.newest.items)
        found |= set(asked.newest.items.tolist())
    inputs = features.history_inputs()
    assert found & set(range(features.item_vocabulary.cardinality, inputs.bos))
    assert max(found) < inputs.bos


def test_what_nothing_is_known_of_is_one_token(features: Features) -> None:
    assert set(features.encode_history(["never", "heard of"], (), [1, 2]).newest.items.tolist()) == {1}


def test_a_token_is_what_the_item_tower_says_of_an_unknown_id_with_these_features(
    dataset: Dataset, features: Features
) -> None:
    pair, items = build_pair(TINY_TOWERS, features, 1).eval(), item_inputs(dataset, features, 0)
    torch.nn.init.normal_(pair.item.id.table.weight)
    codes = features.token_codes(dataset.histories.item_ids)
    with torch.no_grad():
        tokens = pair.token_table(items.codes(torch.arange(items.tokens)))
        rows = pair.item.represent(items.items(torch.arange(len(codes))))
    torch.testing.assert_close(tokens[torch.from_numpy(codes)], rows, rtol=0, atol=0)
    new = codes >= features.item_vocabulary.cardinality
    assert (items.by_item[ITEM_ID][torch.from_numpy(new)] < features.item_vocabulary.first).all()
    assert len(np.unique(tokens[codes[new]].numpy(), axis=0)) > 1


def test_what_is_served_is_what_was_trained(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    store = ArtifactStore.open(str(tmp_path / "store"), cache=tmp_path / "cache")
    made = tiny_version(store, VERSION, dataset, spec=SPEC)
    histories, features = dataset.histories, made.features
    rows = np.asarray(histories.offsets[1:]) - 1
    items = item_inputs(dataset, features, histories.last_us)
    assert isinstance(made.pair, TowerPair)
    trained = PairVectors(dataset, features, items).users(made.pair, rows)
    tower, given = load_user_tower(store, VERSION), inputs_at(dataset, features, rows)
    served = tower.embed(given)
    assert np.allclose(trained, served, atol=1e-5)

    new = set(features.new_items)
    met = np.array([not new.isdisjoint(one.history.item_ids[-12:]) for one in given])
    shared = [replace(one, history=replace(one.history, item_ids=_without(one, new))) for one in given]
    moved = np.abs(served - tower.embed(shared)).max(1) > 1e-6
    assert np.array_equal(moved, met)
    assert met.any()


def _without(given: UserInput, new: set[str]) -> list[str]:
    """The history's items, the new ones as such of which nothing is known."""
    return ["never" if item in new else item for item in given.history.item_ids]
