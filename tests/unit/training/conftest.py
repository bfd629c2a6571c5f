from __future__ import annotations

import pytest

from retrieval.data import Dataset, Split, leave_one_out
from retrieval.features import Features, fit_features
from tests.tiny import TINY_FEATURES, tiny_dataset


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return tiny_dataset(tmp_path_factory.mktemp("training"), users=80, items=40, events=30)


@pytest.fixture(scope="session")
def split(dataset: Dataset) -> Split:
    return leave_one_out(dataset.histories)


@pytest.fixture(scope="session")
def features(dataset: Dataset, split: Split) -> Features:
    return fit_features(TINY_FEATURES, dataset, split)
