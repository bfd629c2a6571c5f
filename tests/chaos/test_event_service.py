"""The event service killed while clients record: nothing is lost, nothing is there twice, histories are whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.event_crashes import Plan, record_through_kills


@pytest.mark.parametrize("seed", [1])
def test_no_event_is_lost_or_twice_though_the_service_is_killed(tmp_path: Path, seed: int) -> None:
    plan = Plan(events=3000, kills=3, seed=seed, batch=20, senders=3, users=37, segment_events=250, again=0.1)
    found = record_through_kills(tmp_path, plan)
    assert (found.kills, found.lost, found.twice, found.wrong_histories, found.left_over) == (3, 0, 0, 0, 0)
