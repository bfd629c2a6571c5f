"""A request for candidates and its answer, as plain data."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from retrieval.serving.ann.host import Terms
from retrieval.towers.runtime import UserInput
from retrieval.types import ModelVersion, SpaceId


@dataclass(frozen=True, slots=True)
class Query:
    """One user to find candidates for. `known`: there was a history to go by. `user_us`: time spent on reading it."""

    user: UserInput
    terms: Terms
    known: bool = True
    user_us: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """A model version that took part in an answer, with the shards it answered and their builds."""

    version: ModelVersion
    space_id: SpaceId
    builds: tuple[int, ...]
    shards: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time went, in µs; see candidates.proto."""

    queue_us: int = 0
    tower_us: int = 0
    search_us: int = 0
    host_search_us: int = 0
    merge_us: int = 0
    batch_size: int = 1
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """Candidates, best first, with what made them. `source_of_item` is empty when there is one source.

    `truncated`: a budget ended the search of some shard.
    """

    item_ids: Sequence[str]
    scores: Sequence[float]
    sources: tuple[Source, ...]
    source_of_item: Sequence[int]
    by_rank: bool
    shards_asked: int
    shards_answered: int
    known: bool
    user_us: int
    timings: Timings
    truncated: bool = False


@dataclass(slots=True)
class Pending:
    """A query on its way: when it must be answered (monotonic clock), and where the answer goes."""

    query: Query
    deadline: float
    entered: float = field(default_factory=time.perf_counter)
    answer: Future[Answer] = field(default_factory=Future)

    def settle(self, answer: Answer) -> None:
        """Hand the answer over, unless the caller has gone."""
        if self.answer.set_running_or_notify_cancel():
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        """Hand an error over, unless the caller has gone."""
        if self.answer.set_running_or_notify_cancel():
            self.answer.set_exception(error)
