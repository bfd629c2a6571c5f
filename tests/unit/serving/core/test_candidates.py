"""What a request leaves out of its user's history."""

from __future__ import annotations

import math

import numpy as np
import pytest

from retrieval.data.corpus import Seen
from retrieval.index.query import Query
from retrieval.serving.core.candidates import Request, StoredUser, look_up
from retrieval.towers.user_input import History
from retrieval.types import HOUR_US

NOW = 100 * HOUR_US
HISTORY = History(
    ["bread", "milk", "bread", "salt"],
    ["buy"] * 4,
    np.array([NOW - 50 * HOUR_US, NOW - 2 * HOUR_US, NOW - HOUR_US, NOW - 1], np.int64),
)


class Stored:
    """One user."""

    def get(self, user_id: str) -> StoredUser | None:
        """The one."""
        return StoredUser(HISTORY, {}) if user_id == "u" else None


@pytest.mark.parametrize(
    ("seen", "left_out"),
    [
        (Seen(), ["bread", "milk", "salt"]),
        (Seen(allowed=True), []),
        (Seen(hours=1.0), ["bread", "salt"]),  # an event that is exactly so old counts
        (Seen(hours=0.5), ["salt"]),
        (Seen(hours=1000.0), ["bread", "milk", "salt"]),
    ],
)
def test_items_of_the_history_are_left_out_as_is_said(seen: Seen, left_out: list[str]) -> None:
    for history, user in ((None, "u"), (HISTORY, "")):
        request = Request(user, Query(3, exclude=["tea"]), history=history, seen=seen, at=NOW)
        assert list(look_up(Stored(), request, math.inf).query.exclude) == ["tea", *left_out]


def test_without_a_time_the_hours_are_those_before_now() -> None:
    found = look_up(Stored(), Request("u", Query(3), seen=Seen(hours=1.0)), math.inf)
    assert not list(found.query.exclude)  # all of it was long ago
