"""Targets from what the user does over the next days, not only next ("dense all action", Pancha et al. 2022).

PinnerFormer predicts, from positions of a history, engagements of the following days: a vector that is computed once
and used for long must foretell more than the next event. From each position some of the events of the window are drawn,
each with the same chance; nothing after the split's training end is ever a target.

The items' shares among these targets are about their shares among all training events, which the popularity correction
from counts takes them for; the first event of a history counts for less, having few positions before it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Ints
from retrieval.data import Histories
from retrieval.data.facts.ranges import concat_ranges
from retrieval.training.config import TargetsConfig
from retrieval.types import DAY_US


class WindowTargets:
    """Draws targets for positions; `positive` bool [A] says which actions may be targets, train_end int64 [U] rows."""

    def __init__(
        self, histories: Histories, positive: npt.NDArray[np.bool_], train_end: Ints, config: TargetsConfig
    ) -> None:
        self._histories = histories
        self._positive = positive
        self._train_end = train_end
        self._span = round(config.days * DAY_US)
        self._events = config.events
        self._each = config.per_position

    def draw(self, user: Ints, window: Ints, following: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Event rows of targets [Q], and the position [Q] that each belongs to; a position may have none.

        user, window, following: int64 [P], of each position its user, its window (ascending) and the row of the next
        event (ascending within a window), at whose time the horizon begins.
        """
        if not len(following):
            return following, following
        stop = self._end(user, following)
        first = np.flatnonzero(np.diff(window, prepend=-1))
        at = np.cumsum(np.diff(window, prepend=-1) != 0) - 1  # positions' place among the windows
        # rows of each window from its first position's to the last row that any of its positions reaches
        begin = following[first]
        sizes = np.maximum.reduceat(stop, first) - begin
        base = np.cumsum(sizes) - sizes
        rows = concat_ranges(begin, sizes)
        marked = self._positive[self._histories.actions[rows]]
        before, rows = np.concatenate([[0], np.cumsum(marked)]), rows[marked]
        low, high = before[(base - begin)[at] + following], before[(base - begin)[at] + stop]
        found = high - low
        number = np.minimum(found, self._each)
        position = np.repeat(np.arange(len(following)), number)
        place = np.arange(len(position)) - np.repeat(np.cumsum(number) - number, number)
        # equally spaced from a random start: all differ, and each event of the window is as likely as another
        step = found[position] / number[position]
        chosen = ((place + rng.random(len(following))[position]) * step).astype(np.int64)
        return rows[low[position] + np.minimum(chosen, found[position] - 1)], position

    def _end(self, user: Ints, following: Ints) -> Ints:
        """The row after the last one that is near enough in time and number, and for training."""
        times = self._histories.timestamps
        latest = times[following] + self._span
        inside, outside = following.copy(), np.minimum(self._train_end[user], following + self._events)
        while (open_ := outside - inside > 1).any():  # all binary searches at once
            middle = (inside[open_] + outside[open_]) // 2
            near = times[middle] <= latest[open_]
            inside[open_] = np.where(near, middle, inside[open_])
            outside[open_] = np.where(near, outside[open_], middle)
        return inside + 1
