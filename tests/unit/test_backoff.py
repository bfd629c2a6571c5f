from __future__ import annotations

import pytest

from retrieval.backoff import Backoff, spread


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(first_s=0.5, longest_s=15.0, jitter=0.0)
    assert [backoff.wait_s(failures) for failures in range(1, 9)] == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    assert backoff.wait_s(1_000_000) == 15.0


def test_waits_are_spread() -> None:
    backoff = Backoff(first_s=1.0, longest_s=60.0, jitter=0.2)
    waits = [backoff.wait_s(3) for _ in range(400)]
    assert 3.2 <= min(waits) < 3.4
    assert 4.6 < max(waits) <= 4.8
    assert sum(waits) / len(waits) == pytest.approx(4.0, abs=0.1)


def test_a_spread_stays_within_its_share() -> None:
    assert all(5.0 <= spread(10.0, 0.5) <= 15.0 for _ in range(200))
    assert spread(10.0, 0.0) == 10.0
