"""Which events repeat an item, against walking the log event by event."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retrieval.data import Histories
from retrieval.data.facts.repeats import engaged_before
from tests.tiny import tiny_dataset


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> Histories:
    return tiny_dataset(tmp_path_factory.mktemp("facts"), users=30, items=8, events=12).histories


def reference(histories: Histories) -> list[bool]:
    found = []
    for user in range(histories.users):
        seen: set[int] = set()
        for row in range(int(histories.offsets[user]), int(histories.offsets[user + 1])):
            found.append(int(histories.items[row]) in seen)
            seen.add(int(histories.items[row]))
    return found


def test_only_events_that_are_close_enough_count(histories: Histories) -> None:
    times = np.asarray(histories.timestamps)
    gaps = []
    for user in range(histories.users):
        last: dict[int, int] = {}
        for row in range(int(histories.offsets[user]), int(histories.offsets[user + 1])):
            item = int(histories.items[row])
            gaps.append(int(times[row]) - last[item] if item in last else 2**62)
            last[item] = int(times[row])
    within = int(np.median([gap for gap in gaps if gap < 2**62]))
    found = engaged_before(histories, np.arange(histories.events), within)
    assert 0 < found.sum() < np.array(reference(histories)).sum()
    np.testing.assert_array_equal(found, np.array(gaps) <= within)


@pytest.mark.parametrize("at_once", [1, 10, 1 << 20])
def test_as_seen_event_by_event(histories: Histories, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from retrieval.data.facts import ranges, repeats

    monkeypatch.setattr(repeats, "row_blocks", lambda offsets: ranges.row_blocks(offsets, at_once))
    expected = np.array(reference(histories))
    assert 0 < expected.sum() < len(expected)
    np.testing.assert_array_equal(engaged_before(histories, np.arange(histories.events)), expected)
    some = np.random.default_rng(0).permutation(histories.events)[:25]
    np.testing.assert_array_equal(engaged_before(histories, some), expected[some])
    twice = np.concatenate([some, some])
    np.testing.assert_array_equal(engaged_before(histories, twice), expected[twice])


def test_of_nothing_it_is_nothing(histories: Histories, tmp_path: Path) -> None:
    assert engaged_before(histories, np.zeros(0, np.int64)).shape == (0,)
