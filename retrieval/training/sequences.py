"""Training sequences: windows of users' histories, gathered into batches of about the same length.

A window of events a … b becomes the tokens BOS, a, …, b-1 with the targets a, …, b: the next item at every position.
B windows of a batch, L its longest window, P real positions in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from retrieval.arrays import Ints, Mask
from retrieval.data import Histories
from retrieval.features import Features, HistoryTokens
from retrieval.features.logged import LoggedHistories
from retrieval.training.window_targets import WindowTargets

# Windows whose lengths differ by less than this share may end up in one batch.
_LENGTH_NOISE = 0.1


@dataclass(frozen=True, slots=True)
class Windows:
    """Event rows start[i] … stop[i]-1 of user[i]; `first[i]` where the window starts at the user's first event.

    Where given, only rows from fresh[i] on are targets, and period[i] is the beginning (µs) of the window's period.
    """

    user: Ints
    start: Ints
    stop: Ints
    first: Mask
    fresh: Ints | None = None
    period: Ints | None = None

    def __len__(self) -> int:
        return len(self.user)

    @property
    def lengths(self) -> Ints:
        """Events per window."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's sequences and its targets.

    history: tokens of the B windows, BOS standing for what is before the first target. users: int64 [B]. Of the P
    positions that count: row and column in [B, L] (int64 [P]), and the event rows of the next event, which its query
    time is that of, and of the one before it (-1 where there is none).
    target: event rows of what is to be predicted, int64 [Q]; target_position: from which of the P positions, int64 [Q]
    (None: Q = P, the next event of each). at: the beginning of the windows' period in µs, None where they have none.
    rows: which windows of the step's batch these are, where they are a part of it.
    """

    history: HistoryTokens
    users: Ints
    position_row: Ints
    position_column: Ints
    next_event: Ints
    previous: Ints
    target: Ints
    target_position: Ints | None = None
    at: int | None = None
    rows: slice = field(default_factory=lambda: slice(None))

    @property
    def examples(self) -> int:
        """P, the targets in this batch."""
        return len(self.next_event)

    def part(self, number: int, count: int) -> Batch:
        """Every `count`-th window from `number` on, with its positions: what one of several processes computes."""
        mine = self.position_row % count == number
        targets = mine if self.target_position is None else mine[self.target_position]
        renumbered = np.cumsum(mine) - 1
        return Batch(
            history=self.history.part(number, count),
            users=self.users[number::count],
            position_row=self.position_row[mine] // count,
            position_column=self.position_column[mine],
            next_event=self.next_event[mine],
            previous=self.previous[mine],
            target=self.target[targets],
            target_position=None if self.target_position is None else renumbered[self.target_position[targets]],
            at=self.at,
            rows=slice(number, None, count),
        )


def cut_windows(offsets: Ints, train_end: Ints, size: int, rng: np.random.Generator, *, everything: bool) -> Windows:
    """Windows of at most `size` events over every user's training events.

    With `everything`, a long history is cut at places that change with `rng`, so that all its events are targets;
    else only its last window counts.
    """
    counts = train_end - offsets[:-1]
    users = np.flatnonzero(counts > 0)
    begin, end = offsets[:-1][users], train_end[users]
    if not everything:
        start = np.maximum(begin, end - size)
        return Windows(users, start, end, start == begin)
    long = end - begin > size
    # the first window of a long history has 1 … size events
    head = np.where(long, rng.integers(1, size + 1, len(users)), end - begin)
    pieces = 1 + -(-(end - begin - head) // size)
    user = np.repeat(np.arange(len(users)), pieces)
    number = np.arange(len(user)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    stop = np.minimum(begin[user] + head[user] + number * size, end[user])
    start = np.where(number == 0, begin[user], begin[user] + head[user] + (number - 1) * size)
    return Windows(users[user], start, stop, number == 0)


def order_batches(lengths: Ints, tokens: int, rng: np.random.Generator) -> list[Ints]:
    """Positions of windows of these lengths, batch by batch, in the order of training.

    Windows of about the same length share a batch, so that little is padding; a batch holds at most `tokens` tokens,
    padding included (a longer window is a batch of its own).
    """
    key = lengths * rng.uniform(1.0 - _LENGTH_NOISE, 1.0, len(lengths))
    order = np.argsort(key, kind="stable")
    batches: list[Ints] = []
    begin = longest = 0
    sizes = lengths[order].tolist()
    for position, size in enumerate(sizes):
        grown = max(longest, size)
        if position > begin and grown * (position + 1 - begin) > tokens:
            batches.append(order[begin:position])
            begin, grown = position, size
        longest = grown
    batches.append(order[begin:])
    return [batches[i] for i in rng.permutation(len(batches))]


class SequenceReader:
    """Turns windows into batches, reading the memory-mapped histories.

    With `positive_actions`, only events with one of them are targets; all events are history. With `later`, it draws
    the targets of each position from what comes after it, instead of the next event.
    """

    def __init__(
        self,
        histories: Histories,
        features: Features,
        positive_actions: Sequence[str] = (),
        later: WindowTargets | None = None,
    ) -> None:
        self._actions = histories.actions
        self._later = later
        self._positive = histories.action_mask(positive_actions)
        self._logged = LoggedHistories(histories, features)

    def tokens(self, windows: Windows) -> Ints:
        """Tokens of each window, int64 [n]: its events and the chunks before it."""
        return self._logged.lengths(windows.user, windows.start, windows.stop - 1)

    def read(self, windows: Windows, chosen: Ints, seed: Sequence[int] = (0,)) -> Batch:
        """The batch of the windows at `chosen`. The target after BOS counts only where the history really starts.

        What `later` draws depends on `seed`.
        """
        start, stop, user = windows.start[chosen], windows.stop[chosen], windows.user[chosen]
        history = self._logged.read(user, start, stop - 1)
        row, col = np.nonzero(self._counted(windows, chosen))
        next_event = start[row] + col
        batch = Batch(
            history=history,
            users=user,
            position_row=row,
            position_column=history.before_bos[row] + col,
            next_event=next_event,
            previous=np.where(col > 0, next_event - 1, -1),
            target=next_event,
            at=None if windows.period is None else int(windows.period[chosen].min()),
        )
        if self._later is None:
            return batch
        return _with_later(batch, self._later, np.random.default_rng(tuple(seed)))

    def _counted(self, windows: Windows, chosen: Ints) -> Mask:
        """Which positions of the windows, from BOS on, have a target: bool [B, longest window]."""
        start = windows.start[chosen]
        size = windows.stop[chosen] - start
        column = np.arange(int(size.max()))
        counted: Mask = column < size[:, None]
        counted[:, 0] &= windows.first[chosen]
        if windows.fresh is not None:
            counted &= column >= (windows.fresh[chosen] - start)[:, None]
        if self._later is None and not self._positive.all():
            rows = np.where(counted, start[:, None] + column, 0)
            counted &= self._positive[self._actions[rows]]
        return counted


def _with_later(batch: Batch, later: WindowTargets, rng: np.random.Generator) -> Batch:
    """The batch with targets drawn from what follows; positions that nothing follows are left out."""
    target, position = later.draw(batch.users[batch.position_row], batch.position_row, batch.next_event, rng)
    used = np.unique(position)
    return replace(
        batch,
        position_row=batch.position_row[used],
        position_column=batch.position_column[used],
        next_event=batch.next_event[used],
        previous=batch.previous[used],
        target=target,
        target_position=np.searchsorted(used, position),
    )
