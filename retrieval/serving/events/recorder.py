"""Recording events: into the log first, then into the histories of their users."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Protocol

from retrieval.data.event_log.event import Event, Recorded, Rejected
from retrieval.data.event_log.log import EventLog
from retrieval.data.event_log.rows import Outcome
from retrieval.data.reading.forgotten import ForgottenFile
from retrieval.serving.events.grouping import Grouped
from retrieval.serving.users.recorded import Engagement
from retrieval.serving.users.store import UserStore


class Recorder(Protocol):
    """Whatever takes events: the log of this machine, or the event service of another."""

    def record(self, events: Sequence[Event]) -> Recorded:
        """Record events; once it returns, they are safe. Raises UnavailableError: send them again."""
        ...


class LogRecorder:
    """Records into a log and a user store of this process. Thread-safe: calls at the same time share their writing."""

    def __init__(
        self, log: EventLog, users: UserStore, *, history_events: int, forgotten: ForgottenFile | None = None
    ) -> None:
        """Of a user's events the newest `history_events` stay in the store; none of those who are `forgotten`."""
        self._log, self._users, self._newest, self._forgotten = log, users, history_events, forgotten
        self._grouped = Grouped(self._record)

    def record(self, events: Sequence[Event]) -> Recorded:
        """As of `Recorder`; the next request of the users sees the events."""
        return self._grouped(events) if events else Recorded(0, 0)

    def _record(self, given: Sequence[Sequence[Event]]) -> list[Recorded]:
        outcome = self._log.append(list(chain.from_iterable(given)))
        # Those that were there, too: the process may have been killed between the two
        self._users.append(_by_user(outcome), newest=self._newest, forgotten=self._forgotten)
        return _shares(outcome, [len(events) for events in given])


def _by_user(outcome: Outcome) -> dict[str, list[Engagement]]:
    found: dict[str, list[Engagement]] = defaultdict(list)
    rows = outcome.rows
    for user, *engagement in zip(rows.user_ids, rows.item_ids, rows.times.tolist(), rows.actions, strict=True):
        found[user].append(Engagement(*engagement))
    return found


def _shares(outcome: Outcome, sizes: Sequence[int]) -> list[Recorded]:
    """What became of the events of each call, of so many each; columns that were ignored are said to all."""
    starts = [0, *accumulate(sizes)]
    recorded, usable = [0] * len(sizes), [0] * len(sizes)
    rejected: list[list[Rejected]] = [[] for _ in sizes]
    for position, new in zip(outcome.rows.positions.tolist(), outcome.new.tolist(), strict=True):
        call = bisect_right(starts, position) - 1
        usable[call] += 1
        recorded[call] += new
    for one in outcome.rejected:
        call = bisect_right(starts, one.position) - 1
        rejected[call].append(Rejected(one.position - starts[call], one.reason))
    return [
        Recorded(recorded[call], usable[call] - recorded[call], tuple(rejected[call]), outcome.ignored)
        for call in range(len(sizes))
    ]
