"""Splits: which events train, which choose the model, and which measure it at the end.

The history of a target event is everything its user did before it, the events after the training cut included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from retrieval.arrays import Mask, Rows
from retrieval.data.config import DataConfig, parse_moment
from retrieval.data.facts.ranges import row_blocks
from retrieval.data.facts.training import training_users
from retrieval.data.histories.histories import Histories
from retrieval.errors import ConfigError, DataError
from retrieval.types import HOUR_US


@dataclass(frozen=True)
class Split:
    """Training ends, user by user, where the targets begin."""

    name: str
    train_end: Rows
    """int64 [U]: row in the histories where the user's training events end (exclusive)."""
    valid: Rows
    """int64 [V]: rows of the validation targets, ascending."""
    test: Rows
    """int64 [T]: rows of the test targets, ascending."""
    valid_from_us: int | None = None
    """Of a split by time: where the window of the validation targets begins, in µs."""
    test_from_us: int | None = None
    """Of a split by time: where that of the test targets begins."""


def through_validation(split: Split, histories: Histories) -> Split:
    """The same test targets, with what lies before them to train on, and no validation targets.

    A split by time trains on all events before the test window; leave one out on each user's before the test target.
    """
    if split.test_from_us is not None:
        return replace(split, train_end=rows_before(histories, split.test_from_us), valid=split.valid[:0])
    train_end = np.array(split.train_end)
    train_end[histories.users_of(split.test)] = split.test
    return replace(split, train_end=train_end, valid=split.valid[:0])


def make_split(config: DataConfig, histories: Histories) -> Split:
    """The split that the settings name. Raises ConfigError for windows that leave nothing to train on."""
    positives = config.positive_actions
    unknown = [name for name in positives if name not in histories.action_names]
    if unknown:
        raise ConfigError(
            f"data.positive_actions: {', '.join(map(repr, unknown))} not among the actions of the events: "
            f"{', '.join(histories.action_names)}"
        )
    chosen = config.split
    if chosen.method == "leave_one_out":
        return leave_one_out(histories, positive_actions=positives)
    until = parse_moment(chosen.test_until) if chosen.test_until else histories.last_us + 1
    test_from = parse_moment(chosen.test_from) if chosen.test_from else until - int(chosen.test_hours * HOUR_US)
    valid_from = parse_moment(chosen.valid_from) if chosen.valid_from else test_from - int(chosen.valid_hours * HOUR_US)
    return by_time(histories, valid_from, test_from, until, positive_actions=positives)


def leave_one_out(histories: Histories, *, positive_actions: Sequence[str] = ()) -> Split:
    """A user's last event is the test target, the second-last the validation target; users with under 3 only train.

    With `positive_actions`, only events with one of them are targets and count towards the 3.
    """
    train_end = np.array(histories.offsets[1:])
    valid, test = [], []
    for first, last in row_blocks(histories.offsets):
        targets = np.flatnonzero(_is_target(histories, first, last, positive_actions))
        targets += histories.offsets[first]
        starts = np.searchsorted(targets, histories.offsets[first:last])
        ends = np.searchsorted(targets, histories.offsets[first + 1 : last + 1])
        enough = ends - starts >= 3
        test.append(targets[ends[enough] - 1])
        valid.append(targets[ends[enough] - 2])
        train_end[first:last][enough] = valid[-1]
    return Split("leave_one_out", train_end, np.concatenate(valid), np.concatenate(test))


def by_time(
    histories: Histories,
    valid_from_us: int,
    test_from_us: int,
    test_until_us: int | None = None,
    *,
    positive_actions: Sequence[str] = (),
) -> Split:
    """Events before `valid_from_us` train; targets are those from there on, and from `test_from_us` on.

    Moments in µs since the epoch. Raises DataError where nothing is left to train on, or to test with.
    """
    until = histories.last_us + 1 if test_until_us is None else test_until_us
    if not valid_from_us <= test_from_us < until:
        raise ConfigError("data.split: valid_from, test_from and test_until must follow one another in time")
    train_end = rows_before(histories, valid_from_us)
    valid, test = [], []
    for first, last in row_blocks(histories.offsets):
        start = histories.offsets[first]
        times = histories.timestamps[start : histories.offsets[last]]
        target = _is_target(histories, first, last, positive_actions)
        valid.append(start + np.flatnonzero(target & (times >= valid_from_us) & (times < test_from_us)))
        test.append(start + np.flatnonzero(target & (times >= test_from_us) & (times < until)))
    split = Split("time", train_end, np.concatenate(valid), np.concatenate(test), valid_from_us, test_from_us)
    if not len(training_users(histories, train_end)):
        raise DataError(
            "data.split: no event lies before the validation window, so nothing is left to train on; "
            f"the events span {(histories.last_us - histories.first_us) / HOUR_US:.1f} hours"
        )
    if not len(split.test):
        raise DataError("data.split: the test window holds no event that could be a target")
    return split


def rows_before(histories: Histories, at_us: int) -> Rows:
    """Where each user's events before a moment end (exclusive): int64 [U]."""
    ends = np.empty(histories.users, np.int64)
    for first, last in row_blocks(histories.offsets):
        start = histories.offsets[first]
        before = np.concatenate([[0], np.cumsum(histories.timestamps[start : histories.offsets[last]] < at_us)])
        bounds = histories.offsets[first : last + 1] - start
        ends[first:last] = histories.offsets[first:last] + np.diff(before[bounds])
    return ends


def _is_target(histories: Histories, first: int, last: int, positive_actions: Sequence[str]) -> Mask:
    rows = slice(int(histories.offsets[first]), int(histories.offsets[last]))
    if not positive_actions:
        return np.ones(rows.stop - rows.start, np.bool_)
    targets: Mask = histories.action_mask(positive_actions)[histories.actions[rows]]
    return targets


def evenly_spaced(rows: Rows, most: int) -> Rows:
    """So many of the rows int64 [n] at most, evenly spaced from the first to the last."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]
