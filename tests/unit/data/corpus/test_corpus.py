"""The corpus against a slow reference that looks at one item after another."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from retrieval.data import Dataset, by_time, leave_one_out
from retrieval.data.corpus import CorpusConfig, as_built_at, built_for, end_of_log, measured_corpus, open_corpus
from retrieval.data.corpus.words import described_index, described_items, described_seen, described_seen_and_alike
from retrieval.errors import ConfigError, DataError
from tests.tiny import tiny_dataset

DAY = 86_400_000_000
MINUTE = 60_000_000
NAMES = ("red", "green", "blue")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The tiny log with items that nobody engaged with, costs, and dates of which some are missing."""
    made = tiny_dataset(tmp_path_factory.mktemp("tiny"))
    rows = made.items.num_rows
    start = made.histories.first_us
    step = (made.histories.last_us - start) // rows
    dates = [None if row % 5 == 0 else start + row * step for row in range(rows)]
    items = np.array(made.histories.items)
    items[np.isin(items, (3, 9, 10))] = 4
    path = made.histories.path.with_name("engaged-in-part")
    return replace(
        made,
        histories=replace(made.histories, items=items, path=path),
        items=made.items.append_column("published", pa.array(dates, pa.timestamp("us")))
        .append_column("cost", pa.array([float(row % 7) for row in range(rows)]))
        .append_column("count", pa.array(range(rows))),
    )


def slow(dataset: Dataset, config: CorpusConfig, at: int) -> set[int]:
    """Rows of the items that an index of a moment holds."""
    events = dataset.histories
    found = set()
    for row, item in enumerate(dataset.items.to_pylist()):
        times = events.timestamps[events.items == row]
        before = times[times < at]
        date = item["published"] and item["published"].replace(tzinfo=UTC)
        published = None if date is None else round((date - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6)
        if config.items == "engaged" and not len(before):
            continue
        if config.engaged_days is not None and not (before >= at - config.engaged_days * DAY).any():
            continue
        dated = bool(config.available_from) and published is not None
        if config.items == "catalog" and not dated and len(times) and not len(before):
            continue
        if dated and published > at:
            continue
        if all(meets(item, condition) for condition in config.where):
            found.add(row)
    return found


def meets(item: dict[str, Any], condition: str) -> bool:
    field, value = condition.split("=")
    if field.endswith("!"):
        return not meets(item, f"{field[:-1]}={value}")
    if ".." in value:
        low, high = value.split("..")
        return item[field] is not None and float(low) <= item[field] <= float(high)
    return item[field] in value.split(",")


DECLARATIONS = [
    CorpusConfig(),
    CorpusConfig(items="catalog"),
    CorpusConfig(engaged_days=0.5),
    CorpusConfig(engaged_days=3.0, where=("colour=red,blue",)),
    CorpusConfig(items="catalog", where=("cost=1..4", "colour!=green")),
    CorpusConfig(items="catalog", available_from="published"),
    CorpusConfig(items="engaged", available_from="published", where=("cost!=2..3",)),
]


@pytest.mark.parametrize("config", DECLARATIONS, ids=described_items)
@given(share=st.floats(0, 1))
def test_items_of_a_moment_are_those_that_the_declaration_says(
    dataset: Dataset, config: CorpusConfig, share: float
) -> None:
    events = dataset.histories
    corpus = open_corpus(config, dataset)
    middle = events.timestamps[int(share * (events.events - 1))]
    for at in (0, int(middle), int(middle) + 1, end_of_log(events)):
        assert {*np.flatnonzero(corpus.items_at(at)).tolist()} == slow(dataset, config, at)


@pytest.mark.parametrize("config", DECLARATIONS, ids=described_items)
def test_a_moment_does_not_know_what_came_later(dataset: Dataset, config: CorpusConfig) -> None:
    """Events from a moment on may say what they want; but an item without any is not told from one before its first."""
    events = dataset.histories
    at = int(np.median(events.timestamps))
    items = np.array(events.items)
    engaged = np.unique(items)
    items[events.timestamps >= at] = np.random.default_rng(0).permutation(items[events.timestamps >= at])
    assert (np.unique(items) == engaged).all()
    path = Path(events.path).with_name("other")
    other = replace(dataset, histories=replace(events, items=items, path=path))
    assert (open_corpus(config, other).items_at(at) == open_corpus(config, dataset).items_at(at)).all()


def test_requests_meet_the_newest_index_before_their_time(dataset: Dataset) -> None:
    corpus = open_corpus(CorpusConfig(refresh_minutes=5.0), dataset)
    times = np.array([0, 1, 5 * MINUTE - 1, 5 * MINUTE, 12 * MINUTE])
    assert corpus.moments(times).tolist() == [0, 0, 0, 5 * MINUTE, 10 * MINUTE]
    assert as_built_at(corpus, 7).moments(times).tolist() == [7] * 5
    always = open_corpus(CorpusConfig(refresh_minutes=1e-9), dataset)
    assert always.moments(times).tolist() == times.tolist()


def test_an_index_that_is_not_refreshed_is_built_before_the_targets_where_these_have_a_window(dataset: Dataset) -> None:
    events = dataset.histories
    valid_us, test_us = (int(np.quantile(events.timestamps, share)) for share in (0.6, 0.8))
    split = by_time(events, valid_us, test_us)
    corpus = measured_corpus(CorpusConfig(), dataset, split, "test")
    assert corpus.moments(events.timestamps[split.test]).tolist() == [test_us] * len(split.test)
    assert built_for(corpus, split, "valid").built_us == valid_us
    assert measured_corpus(CorpusConfig(), dataset, split, "valid").built_us == valid_us
    whole = measured_corpus(CorpusConfig(), dataset, leave_one_out(events), "test")
    assert whole.built_us == end_of_log(events) == events.timestamps.max() + 1


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"where": ("size=1..2",)}, DataError, r"corpus\.where names 'size', the items have no such column"),
        ({"where": ("cost=dear",)}, ConfigError, r"corpus\.where: filter on 'cost': 'dear' is not a number"),
        ({"available_from": "since"}, DataError, "corpus.available_from names 'since'"),
        ({"available_from": "colour"}, DataError, "'colour' of type .* holds no dates"),
        ({"available_from": "count"}, DataError, "'count' holds plain numbers"),
    ],
)
def test_columns_that_do_not_fit_are_refused(dataset: Dataset, config: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        open_corpus(CorpusConfig(**config), dataset)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"where": ("cost",)}, "condition 'cost': expected COLUMN=VALUE"),
        ({"items": "catalog", "engaged_days": 2.0}, "engaged_days needs items"),
        ({"refresh_minutes": -1.0}, "greater than or equal to 0"),
        ({"items": "known"}, "'engaged' or 'catalog'"),
    ],
)
def test_a_declaration_that_says_nothing_is_refused(config: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CorpusConfig(**config)


def test_a_declaration_in_words(dataset: Dataset) -> None:
    assert described_items(CorpusConfig()) == "items with an event"
    given = CorpusConfig(engaged_days=3.0, where=("cost=1..2",), available_from="published")
    assert described_items(given) == "items with an event in the last 3 days, where cost=1..2 and from published on"
    corpus = open_corpus(CorpusConfig(items="catalog"), dataset)
    assert described_items(corpus.config) == "the whole catalog"
    assert described_index(corpus, of_window=False) == "built once, after the last event"
    refreshed = open_corpus(CorpusConfig(refresh_minutes=5.0), dataset)
    assert described_index(refreshed, of_window=True) == "as it was up to 5 minutes before each request"


def test_what_was_seen_in_words() -> None:
    assert described_seen(CorpusConfig(allow_seen=True).seen) == "may be recommended again"
    assert described_seen(CorpusConfig(seen_hours=1.0).seen) == "left out of the lists for 1 hours"
    config = CorpusConfig(seen_by=("series",), seen_by_events=3)
    assert described_seen_and_alike(CorpusConfig()) == described_seen(CorpusConfig().seen) == "left out of the lists"
    assert described_seen_and_alike(config) == (
        "left out of the lists; left out is what shares series with the newest 3 events"
    )
