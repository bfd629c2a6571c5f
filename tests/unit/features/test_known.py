"""Whether anything is known of items: by the id, or by any value of any kind of feature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from retrieval.data import Dataset, leave_one_out
from retrieval.features import Features, FeatureSpec, anything_known, fit_features, id_known
from tests.tiny import tiny_dataset

KINDS: dict[str, tuple[dict[str, Any], list[Any], list[Any]]] = {
    "categorical": ({"name": "colour"}, ["red"], [None, "never seen"]),
    "multi_categorical": ({"name": "tags"}, [["t1"], ["t1", "never seen"]], [None, [], ["never seen"]]),
    "text": ({"name": "title", "buckets": 64}, ["thing"], [None, ""]),
    "vector": ({"name": "content", "size": 4}, [[0.0, 0.0, 1.0, 0.0]], [None]),
    "numeric": ({"name": "price"}, [1.0, 0.0, 50.0], [None]),
    "activity": ({"name": "lately"}, [1e-3, 1.0], [None, 0.0]),
    "first_seen": ({"name": "since"}, [1_700_000_000_000_000], [None]),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return tiny_dataset(tmp_path_factory.mktemp("known"))


def _features(dataset: Dataset, kind: str, declared: dict[str, Any]) -> Features:
    spec = FeatureSpec.model_validate({"history": {"length": 4}, "item": ({"kind": kind, **declared},)})
    return fit_features(spec, dataset, leave_one_out(dataset.histories))


@pytest.mark.parametrize("kind", KINDS)
def test_known_by_a_value(dataset: Dataset, kind: str) -> None:
    declared, known, unknown = KINDS[kind]
    features = _features(dataset, kind, declared)
    (source,) = set(features.columns("item")) - {"item_id"}
    values = [*known, *unknown]
    columns = {"item_id": ["new"] * len(values), source: values}
    encoded = features.encode("item", columns, len(values), np.full(len(values), 1_700_000_001_000_000))
    found = anything_known(features.inputs("item"), encoded)
    assert found.tolist() == [True] * len(known) + [False] * len(unknown)
    assert not id_known(features.inputs("item"), encoded).any()


def test_known_by_the_id_alone(dataset: Dataset) -> None:
    features = fit_features(FeatureSpec(), dataset, leave_one_out(dataset.histories))
    word = features.item_vocabulary.words[0]
    encoded = features.encode("item", {"item_id": [word, "new", None]}, 3)
    assert anything_known(features.inputs("item"), encoded).tolist() == [True, False, False]
    assert id_known(features.inputs("item"), encoded).tolist() == [True, False, False]
