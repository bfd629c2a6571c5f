"""A user's query on its way through the engine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from retrieval.index.query import Query
from retrieval.serving.core.answer import CandidateAnswer
from retrieval.serving.core.attributes import SeenItems
from retrieval.towers.user_input import UserInput


@dataclass(slots=True)
class Pending:
    """A user to embed, what to find for them, when it must be answered (monotonic clock), and where the answer goes.

    `known`: there is a history to go by. `user_us`: time spent on looking the user up. `profile`: the request's own
    values, which `user` has over the stored ones. `seen`: what others must not be alike to; the engine adds its
    values to the query. `attributes`: those that the answer shall show.
    """

    user: UserInput
    query: Query
    deadline: float
    known: bool = True
    user_us: int = 0
    profile: Mapping[str, Any] = field(default_factory=dict)
    seen: SeenItems | None = None
    attributes: tuple[str, ...] = ()
    entered: float = field(default_factory=time.perf_counter)
    answer: Future[CandidateAnswer] = field(default_factory=Future)

    def settle(self, answer: CandidateAnswer) -> None:
        """Hand the answer over, unless the caller has gone."""
        if self.answer.set_running_or_notify_cancel():
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        """Hand an error over, unless the caller has gone."""
        if self.answer.set_running_or_notify_cancel():
            self.answer.set_exception(error)
