"""Rows that training reads, against the windows that it cuts; what only older rows hold stays unknown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from retrieval.data import Dataset, Split
from retrieval.data.facts.ranges import concat_ranges
from retrieval.data.facts.training import item_counts
from retrieval.features import FeatureSpec
from retrieval.training.config import TrainingConfig
from retrieval.training.periods import cut_periods
from retrieval.training.rows_read import fit_read, recent_since, rows_read
from retrieval.training.sequences import Windows, cut_windows
from retrieval.types import HOUR_US

CASES = [
    {"windows": "all"},
    {"windows": "last"},
    {"windows": "by_time"},
    {"windows": "by_time", "recent_days": 3.0},
    {"windows": "by_time", "recent_days": 0.1},
]


def _spec(older: int = 0) -> FeatureSpec:
    return FeatureSpec.model_validate({"history": {"length": 4, "older": older}})


def _windows(dataset: Dataset, split: Split, config: TrainingConfig) -> Windows:
    histories, size = dataset.histories, 5
    if config.windows == "by_time":
        since = recent_since(histories, split, config)
        return cut_periods(histories, split.train_end, size, HOUR_US, offset_us=0, since_us=since)
    rng = np.random.default_rng(0)
    everything = config.windows == "all"
    return cut_windows(np.asarray(histories.offsets), split.train_end, size, rng, everything=everything)


@pytest.mark.parametrize("given", CASES)
def test_every_row_of_a_window_is_read_and_every_target_counted(
    dataset: Dataset, split: Split, given: dict[str, Any]
) -> None:
    histories, config = dataset.histories, TrainingConfig(**given)
    windows = _windows(dataset, split, config)
    fresh = windows.start if windows.fresh is None else windows.fresh
    if config.windows == "last":
        fresh = fresh + ~windows.first  # predicted from nothing: no target
    targets = np.unique(concat_ranges(fresh, windows.stop - fresh))
    tokens = np.unique(concat_ranges(windows.start, windows.stop - windows.start))
    read = rows_read(histories, split, _spec().history, config)

    assert np.array_equal(concat_ranges(read.targets, split.train_end - read.targets), targets)
    assert set(tokens) <= set(concat_ranges(read.tokens, split.train_end - read.tokens))
    counts = item_counts(histories, split.train_end, begin=read.targets)
    assert np.array_equal(counts, np.bincount(histories.items[targets], minlength=len(counts)))


def test_what_is_read_in_chunks_is_read(dataset: Dataset, split: Split) -> None:
    config = TrainingConfig(windows="last")
    read = rows_read(dataset.histories, split, _spec(older=7).history, config)
    begin = dataset.histories.offsets[:-1]
    first = np.maximum(begin, split.train_end - 5)
    assert np.array_equal(read.targets, first + (first > begin))
    assert np.array_equal(read.tokens, np.maximum(begin, first - 7))


@pytest.mark.parametrize("given", CASES)
def test_an_id_is_known_if_a_row_that_is_read_holds_it(dataset: Dataset, split: Split, given: dict[str, Any]) -> None:
    histories, config = dataset.histories, TrainingConfig(**given)
    made = fit_read(_spec(), dataset, split, config)
    read = rows_read(histories, split, _spec().history, config)
    rows = concat_ranges(read.tokens, split.train_end - read.tokens)
    known = {histories.item_ids[int(item)].as_py() for item in np.unique(histories.items[rows])}
    assert set(made.item_vocabulary.words) == known


def test_items_of_old_events_alone_are_unknown(dataset: Dataset, split: Split) -> None:
    everything = fit_read(_spec(), dataset, split, TrainingConfig(windows="by_time"))
    recent = fit_read(_spec(), dataset, split, TrainingConfig(windows="by_time", recent_days=0.1))
    assert set(recent.item_vocabulary.words) < set(everything.item_vocabulary.words)
