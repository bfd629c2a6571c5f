"""Ids that are hidden in histories while training: few, the same for all parts of a batch, only where features are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval.data import Dataset, Split
from retrieval.features import ITEM_ID, Features, FeatureSpec, fit_features
from retrieval.towers.config import TowerConfig
from retrieval.training.config import TrainingConfig
from retrieval.training.run import Run, TrainingInputs, prepare_run
from retrieval.training.step import _hides_tokens
from tests.tiny import TINY_FEATURES, TINY_TOWERS

SHARE = 0.3


def _run(dataset: Dataset, split: Split, features: Features, folder: Path, towers: TowerConfig) -> Run:
    inputs = TrainingInputs(dataset, split, features, towers, TrainingConfig(), folder)
    return prepare_run(inputs, torch.device("cpu"))


def _towers(**settings: float) -> TowerConfig:
    return TowerConfig.model_validate({**TINY_TOWERS.model_dump(), "history_id_dropout": SHARE, **settings})


@pytest.fixture
def run(dataset: Dataset, split: Split, features: Features, tmp_path: Path) -> Run:
    return _run(dataset, split, features, tmp_path, _towers())


def test_a_share_of_the_codes_is_hidden_others_with_another_key(run: Run, features: Features) -> None:
    codes = np.arange(run.objective._inputs.items.tokens)
    hidden = []
    for key in range(200):
        ids = run.objective._token_inputs(run.pair, codes, key)[ITEM_ID].numpy()
        changed = ids != codes
        assert (ids[changed] == 1).all()
        assert not changed[: features.item_vocabulary.first].any()
        hidden.append(changed[features.item_vocabulary.first :])
    assert np.mean(hidden) == pytest.approx(SHARE, abs=0.02)
    assert np.mean(hidden, axis=0) == pytest.approx(SHARE, abs=0.15)


def test_the_features_stay(run: Run) -> None:
    codes = np.arange(run.objective._inputs.items.tokens)
    shown, hidden = (run.objective._token_inputs(run.pair, codes, key) for key in (None, 7))
    assert not torch.equal(shown.pop(ITEM_ID), hidden.pop(ITEM_ID))
    assert shown.keys() == hidden.keys()
    assert all(torch.equal(values, hidden[name]) for name, values in shown.items())


def test_what_is_hidden_does_not_depend_on_the_other_codes(run: Run) -> None:
    codes = np.arange(run.objective._inputs.items.tokens)
    every = run.objective._token_inputs(run.pair, codes, 7)[ITEM_ID]
    some = run.objective._token_inputs(run.pair, codes[::3], 7)[ITEM_ID]
    assert torch.equal(every[::3], some)


def test_nothing_is_hidden_where_no_feature_could_stand_in(
    dataset: Dataset, split: Split, features: Features, tmp_path: Path
) -> None:
    none = FeatureSpec.model_validate({**TINY_FEATURES.model_dump(), "item": ()})
    without = _run(dataset, split, fit_features(none, dataset, split), tmp_path / "a", _towers())
    off = _run(dataset, split, features, tmp_path / "b", _towers(history_id_dropout=0.0))
    ids_only = _run(dataset, split, features, tmp_path / "c", _towers(item_features_in_history=False))
    assert [_hides_tokens(each.pair) for each in (without, off, ids_only)] == [False] * 3
