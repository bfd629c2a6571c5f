"""The shape of a log, against a slow and obvious reference."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from retrieval.data.facts.shape import log_shape
from retrieval.types import DAY_US
from tests.tiny import tiny_dataset


def test_the_shape_is_that_of_the_events_one_by_one(tmp_path: Path) -> None:
    histories = tiny_dataset(tmp_path, users=30, items=60, events=9).histories
    first: dict[int, int] = {}
    for item, time in zip(histories.items.tolist(), histories.timestamps.tolist(), strict=True):
        first[item] = min(time, first.get(item, time))
    middle = statistics.median(histories.timestamps.tolist())
    ages = [
        time - first[item]
        for item, time in zip(histories.items.tolist(), histories.timestamps.tolist(), strict=True)
        if time >= middle
    ]
    shape = log_shape(histories)
    lengths = [end - start for start, end in zip(histories.offsets, histories.offsets[1:], strict=False)]
    assert (shape.events, shape.history) == (histories.events, statistics.median(lengths))
    assert shape.item_age_days == pytest.approx(statistics.median(ages) / DAY_US)
    assert shape.days == pytest.approx((histories.last_us - histories.first_us) / DAY_US)
