"""The core of the candidate service: looks the user up, lets the engine answer, minds the deadline. Knows no gRPC."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any, Protocol

from retrieval.errors import DeadlineError, RequestError
from retrieval.index import Filter
from retrieval.serving.ann.host import Terms
from retrieval.serving.config import ServingConfig
from retrieval.serving.core.batching import Batcher
from retrieval.serving.core.engine import Engine
from retrieval.serving.core.query import Answer, Pending, Query
from retrieval.serving.wire.messages import read_history, read_values
from retrieval.towers.runtime import EMPTY_HISTORY, History, UserInput
from retrieval.v1 import user_pb2

LONGEST_ID = 1024
USER_ID = "user_id"
MOST_EXCLUDED = 10_000


class Users(Protocol):
    """Where records of users come from."""

    def get(self, user_id: str) -> user_pb2.UserRecord | None:
        """A user's record, or None."""


@dataclass(frozen=True, slots=True)
class Request:
    """A checked request for one user; see GetCandidatesRequest. `history` None: the stored one."""

    user_id: str
    k: int
    context: Mapping[str, Any]
    history: History | None
    profile: Mapping[str, Any]
    wanted: Filter | None
    exclude: Sequence[str]
    allow_seen: bool
    at: int
    ef: int | None
    visits: int
    time_us: int


class Candidates:
    """Answers requests for candidates."""

    def __init__(self, model: str, users: Users, engine: Engine, config: ServingConfig) -> None:
        self.model = model
        self._users = users
        self._batcher: Batcher[Pending] = Batcher(
            engine.answer, workers=config.batches_in_flight, largest=config.micro_batch
        )
        self._usual_s, self._longest_s = config.deadline_ms / 1000, config.max_deadline_ms / 1000

    def answer(
        self, requests: Sequence[Request], left_s: float | None, alive: Callable[[], bool] = lambda: True
    ) -> list[Answer]:
        """Answers in the order of the requests, within `left_s` seconds (None: the usual time).

        `alive` says whether somebody still waits. Raises the error of the first request that fails.
        """
        deadline = time.monotonic() + min(self._longest_s, self._usual_s if left_s is None else left_s)
        waiting = []
        for request in requests:
            if time.monotonic() >= deadline or not alive():
                break
            piece = Pending(self._query(request), deadline)
            self._batcher.submit(piece)
            waiting.append(piece)
        answers = []
        try:
            for piece in waiting:
                answers.append(piece.answer.result(max(0.0, deadline - time.monotonic())))  # noqa: PERF401 - what came in time counts
        except FutureTimeoutError:
            pass
        finally:
            for piece in waiting[len(answers) :]:
                piece.answer.cancel()
        if len(answers) < len(requests):
            raise DeadlineError(
                f"the deadline passed with {len(answers)} of {len(requests)} requests answered; "
                "allow more time or ask for less"
            )
        return answers

    def close(self) -> None:
        """End the workers once what waits is done."""
        self._batcher.close()

    def _query(self, request: Request) -> Query:
        started = time.perf_counter()
        record = self._users.get(request.user_id) if request.user_id else None
        history = request.history
        known = history is not None or record is not None
        if history is None:
            history = read_history(record.history) if record is not None else EMPTY_HISTORY
        profile = read_values(record.profile) if record is not None else {}
        if request.user_id:
            profile[USER_ID] = request.user_id  # a feature may be declared on it
        profile.update(request.profile)
        exclude = list(request.exclude)
        if not request.allow_seen:
            exclude.extend(dict.fromkeys(history.item_ids))
        user = UserInput(history, profile, request.context, request.at or time.time_ns() // 1000)
        terms = Terms(request.k, request.ef, exclude, request.wanted, request.visits, request.time_us)
        return Query(user, terms, known, int((time.perf_counter() - started) * 1e6))


def check_request(request: Request, config: ServingConfig, *, name: str = "") -> None:
    """Raises RequestError saying what to change. `name` goes before the field where several requests came together."""
    size = len(request.user_id.encode("utf-8"))
    if size > LONGEST_ID:
        raise RequestError(f"{name}user_id: {size:,} bytes; at most {LONGEST_ID:,} are allowed")
    if not request.user_id and request.history is None:
        raise RequestError(f"{name}user_id: empty; name a user, or send a history")
    if not 1 <= request.k <= config.max_k:
        raise RequestError(f"{name}k: {request.k:,}; 1 to {config.max_k:,} are allowed")
    if len(request.exclude) > MOST_EXCLUDED:
        raise RequestError(f"{name}exclude_item_ids: {len(request.exclude):,}; at most {MOST_EXCLUDED:,} are allowed")
    if request.at < 0:
        raise RequestError(f"{name}at: {request.at} is negative; expected microseconds since 1970, or 0 for now")
    if request.ef is not None and request.ef > 65_536:
        raise RequestError(f"{name}ef: {request.ef:,}; at most 65,536 is allowed, 0 leaves it to the build")
