from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from retrieval.data import Dataset
from retrieval.data.histories.histories import ContextColumn
from retrieval.errors import ConfigError, DataError
from retrieval.training.labels import Labels, target_actions


def test_an_event_weighs_what_its_action_does(dataset: Dataset) -> None:
    histories = dataset.histories
    rows = np.arange(50)
    labels = Labels(histories, {"save": 2.5})
    want = [2.5 if histories.action_names[a] == "save" else 1.0 for a in histories.actions[rows]]
    assert labels.weights(rows).tolist() == want
    assert labels.items(rows).tolist() == histories.items[rows].tolist()
    assert set(Labels(histories).weights(rows)) == {1.0}


def test_actions_of_weight_0_are_no_targets(dataset: Dataset) -> None:
    histories = dataset.histories
    assert target_actions(histories) == histories.action_names == ("click", "save")
    assert target_actions(histories, (), {"click": 0.0, "save": 3.0}) == ("save",)
    assert target_actions(histories, ("click",), {"save": 3.0}) == ("click",)
    with pytest.raises(ConfigError, match=r"all target actions \(click\) weigh 0"):
        target_actions(histories, ("click",), {"click": 0.0})


def test_unknown_actions_are_named_beside_the_known(dataset: Dataset) -> None:
    message = r"training\.action_weights: 'sav' not among the actions of the events: click, save"
    with pytest.raises(ConfigError, match=message):
        target_actions(dataset.histories, (), {"sav": 2.0})
    with pytest.raises(ConfigError, match=message):
        Labels(dataset.histories, {"sav": 2.0})


def numbers(dataset: Dataset, values: np.ndarray) -> Dataset:
    """With one more context column of the events."""
    column = ContextColumn("worth", "float", values, None, None)
    return replace(
        dataset, histories=replace(dataset.histories, context={**dataset.histories.context, "worth": column})
    )


def test_a_column_multiplies_and_is_1_where_missing(dataset: Dataset) -> None:
    values = np.linspace(0.0, 4.0, dataset.histories.events)
    values[3] = np.nan
    labels = Labels(numbers(dataset, values).histories, {"save": 2.0, "click": 2.0}, "worth")
    np.testing.assert_allclose(labels.weights(np.array([3, 1, 7])), [2.0, 2 * values[1], 2 * values[7]])


@pytest.mark.parametrize("wrong", [-1.0, np.inf])
def test_weights_that_are_none_are_refused(dataset: Dataset, wrong: float) -> None:
    values = np.ones(dataset.histories.events)
    values[5] = wrong
    labels = Labels(numbers(dataset, values).histories, {}, "worth")
    assert labels.weights(np.array([1, 2])).tolist() == [1, 1]
    with pytest.raises(DataError, match=rf"'worth' holds {wrong}"):
        labels.weights(np.array([1, 5]))


@pytest.mark.parametrize("name", ["device", "absent"])
def test_a_column_without_numbers_is_refused(dataset: Dataset, name: str) -> None:
    values = np.ones(dataset.histories.events)
    with pytest.raises(ConfigError, match=rf"{name!r} is no column of numbers.*those with numbers: worth"):
        Labels(numbers(dataset, values).histories, {}, name)
    with pytest.raises(ConfigError, match="with numbers: none"):
        Labels(dataset.histories, {}, name)
