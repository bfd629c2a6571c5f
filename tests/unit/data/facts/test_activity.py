"""What the log says about items up to a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.data import DataConfig, Histories, item_activity, open_dataset
from retrieval.data.facts import activity

HOUR = 3_600_000_000


@pytest.fixture
def histories(tmp_path: Path) -> Histories:
    rng = np.random.default_rng(5)
    seconds = np.sort(rng.integers(1_700_000_000, 1_700_000_000 + 50_000, 400))
    table = {
        "user_id": rng.integers(0, 20, 400),
        "item_id": np.minimum(rng.integers(0, 15, 400), rng.integers(0, 15, 400)),
        "timestamp": seconds,
    }
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table(table), tmp_path / "data" / "events.parquet")
    return open_dataset(DataConfig(events="data/events.parquet"), tmp_path, show=False).histories


def slow_counts(histories: Histories, at: int, window: int) -> list[int]:
    times = np.asarray(histories.timestamps)
    inside = (times >= at - window) & (times < at)
    return np.bincount(histories.items[inside], minlength=len(histories.item_ids)).tolist()


@pytest.mark.parametrize("events_at_once", [7, 64, 1 << 22])
def test_counts_are_those_of_the_window_and_see_nothing_from_the_moment_on(
    histories: Histories, monkeypatch: pytest.MonkeyPatch, events_at_once: int
) -> None:
    monkeypatch.setattr(activity, "_EVENTS_AT_ONCE", events_at_once)
    made = item_activity(histories)
    items = np.arange(len(histories.item_ids))
    moments = [histories.first_us, histories.last_us, histories.last_us + HOUR, int(histories.timestamps[17])]
    for at in [*moments, histories.first_us + 5 * HOUR]:
        for window in (HOUR, 24 * HOUR):
            expected = slow_counts(histories, at, window)
            assert made.counts(items, at, window).tolist() == expected
            assert made.total(at, window) == sum(expected)


def test_the_first_event_is_told_only_to_those_who_ask_later(histories: Histories) -> None:
    made = item_activity(histories)
    items = np.arange(len(histories.item_ids))
    for at in (histories.first_us, histories.first_us + HOUR, histories.last_us + 1):
        for item, found in zip(items, made.first_us(items, at), strict=True):
            times = np.asarray(histories.timestamps)[np.asarray(histories.items) == item]
            before = times[times < at]
            assert found == (before.min() if len(before) else -1)


def test_it_is_built_once_and_a_damaged_file_is_built_again(histories: Histories) -> None:
    path = histories.path.with_name(f"{histories.path.name}.activity.npy")
    item_activity(histories)
    stamp = path.stat().st_mtime_ns
    item_activity(histories)
    assert path.stat().st_mtime_ns == stamp
    path.write_bytes(path.read_bytes()[:-8])
    items = np.arange(len(histories.item_ids))
    counts = item_activity(histories).counts(items, histories.last_us + 1, 48 * HOUR)
    assert int(counts.sum()) == histories.events
