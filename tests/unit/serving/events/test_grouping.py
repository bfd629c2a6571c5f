"""Calls of several threads at once share the work, and each gets its own result or the error."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from retrieval.serving.events.grouping import Grouped


def test_what_arrives_meanwhile_is_one_group() -> None:
    groups: list[list[int]] = []
    first_began, go_on = threading.Event(), threading.Event()

    def work(given: Sequence[int]) -> list[int]:
        groups.append(list(given))
        first_began.set()
        assert go_on.wait(30)
        return [2 * one for one in given]

    grouped = Grouped(work)
    with ThreadPoolExecutor(9) as pool:
        calls = [pool.submit(grouped, 0)]
        assert first_began.wait(30)
        calls += [pool.submit(grouped, number) for number in range(1, 9)]
        while len(grouped._waiting) < 8:
            threading.Event().wait(0.001)
        go_on.set()
        assert [call.result() for call in calls] == [2 * number for number in range(9)]
    assert sorted(map(len, groups)) == [1, 8]


def test_an_error_reaches_the_group_and_the_next_one_works() -> None:
    def work(given: Sequence[int]) -> list[int]:
        if -1 in given:
            raise ValueError("no")
        return list(given)

    grouped = Grouped(work)
    with pytest.raises(ValueError, match="no"):
        grouped(-1)
    assert grouped(3) == 3
