"""How many events repeat another, against counting them one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retrieval.data import Histories
from retrieval.data.facts import pairs
from retrieval.data.facts.pairs import events_before, repeated_shares
from retrieval.types import HOUR_US
from tests.tiny import tiny_dataset

HOURS, WINDOWS = 24 * 5, 4


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> Histories:
    return tiny_dataset(tmp_path_factory.mktemp("facts"), users=30, items=4, events=30).histories


def reference(histories: Histories) -> list[float]:
    seen: list[set[tuple[int, int, int]]] = [set() for _ in range(WINDOWS)]
    counts = np.zeros((WINDOWS, 2))
    for user in range(histories.users):
        for row in range(int(histories.offsets[user]), int(histories.offsets[user + 1])):
            place = (histories.last_us - int(histories.timestamps[row])) // (HOURS * HOUR_US)
            if place < WINDOWS:
                same = (user, int(histories.items[row]), int(histories.actions[row]))
                counts[place] += 1, same in seen[place]
                seen[place].add(same)
    return [repeats / events for events, repeats in counts.tolist()]


@pytest.mark.parametrize("at_once", [1, 50, 1 << 20])
def test_as_counted_one_by_one(histories: Histories, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_EVENTS_AT_ONCE", at_once)
    expected = reference(histories)
    assert 0 < min(expected) < max(expected) < 1
    assert repeated_shares(histories, HOURS, WINDOWS).tolist() == pytest.approx(expected)


def test_a_window_without_events_has_no_share(tmp_path: Path) -> None:
    histories = tiny_dataset(tmp_path, users=1, items=4, events=2).histories
    shares = repeated_shares(histories, 1, 1000)
    assert np.isnan(shares).sum() >= 998
    assert shares[0] == 0


def test_events_before_a_moment(histories: Histories) -> None:
    moment = int(np.median(histories.timestamps))
    assert events_before(histories, moment) == int((np.asarray(histories.timestamps) < moment).sum()) > 0
    assert events_before(histories, histories.first_us) == 0
