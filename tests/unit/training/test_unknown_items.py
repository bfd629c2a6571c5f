"""Items that training never met: how long their vectors are, and from what that is told."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from retrieval.data import Dataset
from retrieval.features import ITEM_ID, Features, id_known
from retrieval.towers.offline import ItemInputs, item_inputs
from retrieval.towers.pair import TowerPair, build_pair
from retrieval.training.unknown_items import SCALES, fit_unknown_scale, with_held_out_items
from retrieval.training.vectors import PairVectors
from tests.tiny import TINY_TOWERS


@pytest.fixture
def pair(features: Features) -> TowerPair:
    return build_pair(TINY_TOWERS, features, 0).eval()


@pytest.fixture(scope="module")
def items(dataset: Dataset, features: Features) -> ItemInputs:
    return item_inputs(dataset, features, dataset.histories.last_us)


def _known(items: ItemInputs, features: Features) -> np.ndarray:
    return id_known(features.inputs("item"), {ITEM_ID: items.by_item[ITEM_ID].numpy()})


@pytest.mark.parametrize("best", SCALES)
def test_the_best_scale_is_kept(pair: TowerPair, best: float) -> None:
    scale = pair.item.unknown_scale
    assert fit_unknown_scale(pair, lambda: -abs(float(scale) - best)) == pytest.approx(best)
    assert float(scale) == pytest.approx(best)


def test_of_equally_good_scales_the_least(pair: TowerPair) -> None:
    scale = pair.item.unknown_scale
    assert fit_unknown_scale(pair, lambda: 0.3 if scale < 0.8 else 0.2) == min(SCALES)


def test_without_unknown_candidates_some_known_ones_play_them(
    dataset: Dataset, items: ItemInputs, features: Features
) -> None:
    known = _known(items, features)
    hidden = _known(with_held_out_items(items, features, known, seed=1), features)
    assert 0 < (known & ~hidden).sum() <= -(-known.sum() // 20)
    assert not (hidden & ~known).any()
    again = _known(with_held_out_items(items, features, known, seed=1), features)
    assert np.array_equal(hidden, again)


def test_enough_unknown_candidates_speak_for_themselves(items: ItemInputs, features: Features) -> None:
    ids = items.by_item[ITEM_ID].clone()
    ids[:3] = 1
    given_items = ItemInputs({**items.by_item, ITEM_ID: ids}, items.by_code)
    everything = np.ones(len(ids), np.bool_)
    assert with_held_out_items(given_items, features, everything, seed=1) is given_items


@settings(max_examples=25)
@given(scale=st.sampled_from(SCALES), seed=st.integers(0, 2**20))
def test_what_nothing_is_known_of_never_outranks_what_something_is_known_of(
    dataset: Dataset, features: Features, items: ItemInputs, scale: float, seed: int
) -> None:
    pair = build_pair(TINY_TOWERS, features, seed).eval()
    pair.item.unknown_scale.fill_(scale)
    missing = {name: torch.from_numpy(np.asarray(v)) for name, v in features.encode("item", {}, 1).items()}
    by_item = {name: torch.cat([values, values, missing[name]]) for name, values in items.by_item.items()}
    count = len(items.by_item[ITEM_ID])
    by_item[ITEM_ID][count : 2 * count] = 1
    vectors = PairVectors(dataset, features, ItemInputs(by_item, items.by_code)).items(pair)
    with_id, without, nothing = vectors[:count], vectors[count:-1], vectors[-1]
    query = np.random.default_rng(seed).normal(size=pair.dim).astype(np.float32)
    known = _known(items, features)

    assert np.allclose(np.linalg.norm(with_id[known], axis=1), 1, atol=1e-5)
    assert np.allclose(np.linalg.norm(without, axis=1), scale, atol=1e-5)
    assert not nothing.any()
    scores = np.concatenate([with_id, without]) @ query
    assert (scores[scores > 0] > nothing @ query).all()
