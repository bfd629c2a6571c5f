"""Facts about the log, against slow and obvious references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.data import Histories, Split, leave_one_out
from retrieval.data.facts import items as item_facts
from retrieval.data.facts import ranges, training
from retrieval.data.facts.items import NEVER, first_event_times
from retrieval.data.facts.training import (
    item_and_action_counts,
    item_counts,
    last_training_rows,
    last_training_us,
    training_rows,
    training_users,
)
from tests.tiny import HOUR_US, START_US, tiny_dataset


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> Histories:
    return tiny_dataset(tmp_path_factory.mktemp("facts"), users=30, items=60, events=9).histories


@pytest.fixture(scope="module")
def split(histories: Histories) -> Split:
    made = leave_one_out(histories)
    train_end = made.train_end.copy()
    train_end[[0, 7]] = histories.offsets[[0, 7]]  # users whose events are all later
    return Split(made.name, train_end, made.valid, made.test)


@pytest.fixture(params=[1, 10, 1 << 20])
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many events at a time."""
    monkeypatch.setattr(training, "_EVENTS_AT_ONCE", request.param)
    monkeypatch.setattr(item_facts, "event_blocks", lambda log: ranges.event_blocks(log, request.param))


def rows_of_training(histories: Histories, split: Split) -> list[int]:
    return [row for user, end in enumerate(split.train_end) for row in range(histories.offsets[user], end)]


@pytest.mark.usefixtures("_blocks")
def test_training_rows_are_all_of_them_in_order(histories: Histories, split: Split) -> None:
    blocks = list(training_rows(histories, split.train_end))
    assert all(len(block) for block in blocks)
    assert np.concatenate(blocks).tolist() == rows_of_training(histories, split)


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("actions", [(), ("save",)])
@pytest.mark.parametrize("since_us", [None, START_US + 200 * HOUR_US])
def test_items_are_counted(histories: Histories, split: Split, actions: tuple[str, ...], since_us: int | None) -> None:
    want = [0] * len(histories.item_ids)
    for row in rows_of_training(histories, split):
        named = not actions or histories.action_names[histories.actions[row]] in actions
        if named and (since_us is None or histories.timestamps[row] >= since_us):
            want[histories.items[row]] += 1
    assert item_counts(histories, split.train_end, actions=actions, since_us=since_us).tolist() == want
    assert 0 < sum(want) < histories.events


@pytest.mark.usefixtures("_blocks")
def test_actions_are_counted(histories: Histories, split: Split) -> None:
    done = [histories.action_names[histories.actions[row]] for row in rows_of_training(histories, split)]
    items, actions = item_and_action_counts(histories, split.train_end)
    assert actions.tolist() == [done.count(name) for name in histories.action_names]
    assert items.tolist() == item_counts(histories, split.train_end).tolist()


def test_when_and_with_whom_training_ends(histories: Histories, split: Split) -> None:
    rows = rows_of_training(histories, split)
    last = {int(histories.users_of(np.array([row]))[0]): row for row in rows}
    assert training_users(histories, split.train_end).tolist() == list(last)
    assert last_training_rows(histories, split.train_end).tolist() == list(last.values())
    assert last_training_us(histories, split.train_end) == max(histories.timestamps[row] for row in rows)
    assert last_training_us(histories, np.asarray(histories.offsets[:-1])) == 0


@pytest.mark.usefixtures("_blocks")
def test_what_is_said_of_items(histories: Histories) -> None:
    times: dict[int, list[int]] = {}
    for row in range(histories.events):
        times.setdefault(int(histories.items[row]), []).append(int(histories.timestamps[row]))
    every = range(len(histories.item_ids))
    assert len(times) < len(every), "some items have no event"
    assert first_event_times(histories).tolist() == [min(times.get(item, [NEVER])) for item in every]


@pytest.mark.parametrize("count", [1, 3, 100])
def test_slices_of_a_history(histories: Histories, count: int) -> None:
    rows = np.arange(histories.events)
    users = [next(u for u in range(histories.users) if row < histories.offsets[u + 1]) for row in rows]
    first = [int(histories.offsets[user]) for user in users]
    assert histories.first_rows_of(rows).tolist() == first
    begins = [max(begin, row - count) for begin, row in zip(first, rows, strict=True)]
    assert histories.newest_before(rows, count).tolist() == begins
    assert histories.newest_before(rows, count, np.array(users)).tolist() == begins
    ends, every = np.asarray(histories.offsets[1:]), np.arange(histories.users)
    whole = np.maximum(histories.offsets[:-1], ends - count)
    assert histories.newest_before(ends, count, every).tolist() == whole.tolist()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 12))
def test_blocks_of_rows_hold_each_once_and_not_too_much(sizes: list[int], most: int) -> None:
    offsets = ranges.edges_of(np.array(sizes))
    assert offsets.tolist() == [sum(sizes[:row]) for row in range(len(sizes) + 1)]
    blocks = list(ranges.row_blocks(offsets, most))
    assert [row for first, last in blocks for row in range(first, last)] == list(range(len(sizes)))
    assert all(last == first + 1 or sum(sizes[first:last]) <= most for first, last in blocks)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=20))
def test_ranges_one_after_another(given: list[tuple[int, int]]) -> None:
    starts, lengths = (np.array([pair[n] for pair in given], np.int64) for n in (0, 1))
    want = [row for start, length in given for row in range(start, start + length)]
    assert ranges.concat_ranges(starts, lengths).tolist() == want


def test_blocks_of_events(histories: Histories) -> None:
    blocks = list(ranges.event_blocks(histories, 7))
    assert [row for block in blocks for row in range(block.start, block.stop)] == list(range(histories.events))
    assert all(0 < block.stop - block.start <= 7 for block in blocks)
