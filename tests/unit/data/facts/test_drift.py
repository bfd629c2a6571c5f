from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.data.facts.drift import GONE, Spread, drift, spreads, stability_index
from retrieval.data.facts.windows import newest_windows
from tests.tiny import DAY_US, tiny_dataset

COLUMNS = {"user": ["country", "height"], "item": ["colour", "tags", "content", "absent"], "context": ["device"]}


def plain_index(now: list[int], before: list[int]) -> float:
    """The sum as it stands in the books."""
    a, b = (np.maximum(np.array(counts, np.float64), 0.5) for counts in (now, before))
    a, b = a / a.sum(), b / b.sum()
    return float(sum((x - y) * np.log(x / y) for x, y in zip(a, b, strict=True)))


@given(st.lists(st.tuples(st.integers(1, 10_000), st.integers(1, 10_000)), min_size=2, max_size=20))
def test_the_index_is_the_sum_less_what_chance_gives(counts: list[tuple[int, int]]) -> None:
    now, before = [one for one, _ in counts], [other for _, other in counts]
    chance = (len(counts) - 1) * (1 / sum(now) + 1 / sum(before))
    found = stability_index(Spread((), (), tuple(now)), Spread((), (), tuple(before)))
    assert found == pytest.approx(max(0.0, plain_index(now, before) - chance), abs=1e-9)


def test_samples_of_one_spread_are_alike_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(20))
    one, other = (Spread((), (), tuple(rng.multinomial(300, shares).tolist())) for _ in range(2))
    assert stability_index(one, other) < 0.1
    assert stability_index(one, Spread((), (), tuple(rng.multinomial(300, shares[::-1]).tolist()))) > 0.25


def test_columns_of_every_side_are_compared_in_the_bins_of_before(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, users=200)
    rows = np.arange(dataset.histories.events)
    before = spreads(dataset, rows[::2], COLUMNS)
    # vectors are not compared, nor what isn't there
    assert set(before) == {"action", "user.country", "user.height", "item.colour", "item.tags", "context.device"}
    now = spreads(dataset, rows[1::2], COLUMNS, before)
    assert all(value < 0.1 for value in drift(now, before).values())

    constant = pa.array(["red"] * dataset.items.num_rows)
    items = dataset.items.set_column(dataset.items.column_names.index("colour"), "colour", constant)
    changed = drift(spreads(replace(dataset, items=items), rows, COLUMNS, before), before)
    assert changed["item.colour"] > 1.0
    assert changed["user.country"] < 0.1
    gone = replace(dataset, items=dataset.items.drop_columns(["colour"]))
    assert drift(spreads(gone, rows, COLUMNS, before), before)["item.colour"] == GONE


def test_numbers_that_moved_and_numbers_that_went_missing(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, users=200)
    rows = np.arange(dataset.histories.events)
    before = spreads(dataset, rows, COLUMNS)
    place = dataset.users.column_names.index("height")
    heights = dataset.users["height"].to_numpy()
    for values in (heights + 30, np.where(np.arange(len(heights)) % 2, np.nan, heights)):
        users = dataset.users.set_column(place, "height", pa.array(values))
        assert drift(spreads(replace(dataset, users=users), rows, COLUMNS, before), before)["user.height"] > 0.25


def test_the_newest_window_and_those_before(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path, users=200)
    histories = dataset.histories
    windows = newest_windows(histories, 24.0)
    times = np.asarray(histories.timestamps)
    ages = (histories.last_us - times) // DAY_US
    assert windows.counts.tolist() == [int((ages == age).sum()) for age in range(8)]
    assert windows.usual == np.median(windows.counts[1:])
    assert windows.rows[0].tolist() == np.flatnonzero(ages == 0).tolist()
    assert windows.rows[1].tolist() == np.flatnonzero((ages >= 1) & (ages <= 7)).tolist()
    few = newest_windows(histories, 24.0, most=20)
    assert 10 <= len(few.rows[1]) <= 20
    assert set(few.rows[1]) <= set(windows.rows[1])
    # two windows before the newest don't say what is usual
    assert newest_windows(histories, 24.0 * 9).usual is None
