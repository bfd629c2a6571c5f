"""The core of the candidate service: looks the user up, lets the engine answer, keeps the deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from retrieval.data.corpus.seen import Seen
from retrieval.errors import DeadlineError, RequestError
from retrieval.index.query import Query
from retrieval.serving.config import ServingConfig
from retrieval.serving.core.answer import CandidateAnswer
from retrieval.serving.core.attributes import SeenBy, SeenItems
from retrieval.serving.core.batching import Batcher
from retrieval.serving.core.engine import Engine
from retrieval.serving.core.exploration import new_items_of, result_of
from retrieval.serving.core.pending import Pending
from retrieval.towers.user_input import EMPTY_HISTORY, History, UserInput

LONGEST_ID = 1024
USER_ID = "user_id"
MOST_EXCLUDED = 10_000
_ALL_SEEN = Seen()


@dataclass(frozen=True, slots=True)
class StoredUser:
    """What is stored of a user: the history, and profile values by column."""

    history: History
    profile: Mapping[str, Any]


class Users(Protocol):
    """Where stored users are found. Thread-safe."""

    def get(self, user_id: str) -> StoredUser | None:
        """What is stored of a user; None where nothing is."""


@dataclass(frozen=True, slots=True)
class Request:
    """Candidates wanted for one user; see GetCandidatesRequest.

    `query` says which items, `seen` what becomes of those of the history. `history` None: the stored one. `profile`
    replaces stored values, column by column. `at` in µs since 1970; 0 means now. `seen_by`: what is alike to the newest
    events does not come back. `attributes`: item attributes that the answer shall show.
    """

    user_id: str
    query: Query
    context: Mapping[str, Any] = field(default_factory=dict)
    history: History | None = None
    profile: Mapping[str, Any] = field(default_factory=dict)
    seen: Seen = _ALL_SEEN
    at: int = 0
    seen_by: SeenBy | None = None
    attributes: tuple[str, ...] = ()


class Candidates:
    """Answers requests for candidates."""

    def __init__(self, model: str, users: Users, engine: Engine, config: ServingConfig) -> None:
        self.model = model
        self._users = users
        self._batcher: Batcher[Pending] = Batcher(
            engine.answer, workers=config.batches_in_flight, largest=config.micro_batch
        )
        self._exploration = config.exploration
        self._usual_s, self._longest_s = config.deadline_ms / 1000, config.max_deadline_ms / 1000

    def answer(
        self, requests: Sequence[Request], left_s: float | None, alive: Callable[[], bool] = lambda: True
    ) -> list[CandidateAnswer]:
        """Answers in the order of the requests, within `left_s` seconds (None: the usual time).

        `alive` says whether somebody still waits. Raises the error of the first request that fails.
        """
        deadline = time.monotonic() + min(self._longest_s, self._usual_s if left_s is None else left_s)
        waiting = []
        for request in requests:
            if time.monotonic() >= deadline or not alive():
                break
            waiting.append(self._submit(look_up(self._users, request, deadline)))
        answers = []
        try:
            for piece, new in waiting:
                answers.append(result_of(piece, new))
        except FutureTimeoutError:
            pass
        finally:
            _cancel(waiting[len(answers) :])
        if len(answers) < len(requests):
            raise DeadlineError(
                f"the deadline passed with {len(answers)} of {len(requests)} requests answered; "
                "allow more time or ask for less"
            )
        return answers

    def _submit(self, piece: Pending) -> tuple[Pending, Pending | None]:
        """Have a query worked on, and that for new items beside it where there is one."""
        new = new_items_of(piece, self._exploration)
        self._batcher.submit(piece)
        if new is not None:
            self._batcher.submit(new)
        return piece, new

    def close(self) -> None:
        """End the workers once what waits is done."""
        self._batcher.close()


def _cancel(waiting: Sequence[tuple[Pending, Pending | None]]) -> None:
    for piece, new in waiting:
        piece.answer.cancel()
        if new is not None:
            new.answer.cancel()


def look_up(users: Users, request: Request, deadline: float) -> Pending:
    """What the engine is given for a request: its user as stored, with what the request brings laid over it."""
    started = time.perf_counter()
    stored = users.get(request.user_id) if request.user_id else None
    history = request.history
    known = history is not None or stored is not None
    if history is None:
        history = stored.history if stored is not None else EMPTY_HISTORY
    profile = dict(stored.profile) if stored is not None else {}
    if request.user_id:
        profile[USER_ID] = request.user_id  # a feature may be declared on it
    profile.update(request.profile)
    at = request.at or time.time_ns() // 1000
    query, seen = request.query, _left_out(request.seen, history, at)
    if seen:
        query = replace(query, exclude=[*query.exclude, *seen])
    user = UserInput(history, profile, request.context, at)
    return Pending(
        user,
        query,
        deadline,
        known,
        int((time.perf_counter() - started) * 1e6),
        request.profile,
        seen=_seen(request.seen_by, history),
        attributes=request.attributes,
    )


def _left_out(seen: Seen, history: History, at_us: int) -> Sequence[str]:
    """Items of the history that must not come back."""
    if seen.allowed:
        return ()
    if seen.hours is None:
        return tuple(dict.fromkeys(history.item_ids))
    recent = (np.asarray(history.timestamps) >= seen.since(at_us)).tolist()
    return tuple(dict.fromkeys(item for item, is_recent in zip(history.item_ids, recent, strict=True) if is_recent))


def _seen(by: SeenBy | None, history: History) -> SeenItems | None:
    if by is None or not by.attributes or not len(history.item_ids):
        return None
    return SeenItems(by, tuple(dict.fromkeys(history.item_ids[-by.events :])))


def check_request(request: Request, config: ServingConfig, *, name: str = "") -> None:
    """Raises RequestError saying what to change. `name` goes before the field where several requests came together."""
    size = len(request.user_id.encode("utf-8"))
    if size > LONGEST_ID:
        raise RequestError(f"{name}user_id: {size:,} bytes; at most {LONGEST_ID:,} are allowed")
    if not request.user_id and request.history is None:
        raise RequestError(f"{name}user_id: empty; name a user, or send a history")
    query = request.query
    if not 1 <= query.k <= config.max_k:
        raise RequestError(f"{name}k: {query.k:,}; 1 to {config.max_k:,} are allowed")
    if len(query.exclude) > MOST_EXCLUDED:
        raise RequestError(f"{name}exclude_item_ids: {len(query.exclude):,}; at most {MOST_EXCLUDED:,} are allowed")
    if request.at < 0:
        raise RequestError(f"{name}at: {request.at} is negative; expected microseconds since 1970, or 0 for now")
    if query.ef is not None and query.ef > 65_536:
        raise RequestError(f"{name}ef: {query.ef:,}; at most 65,536 is allowed, 0 leaves it to the build")


def check_batch(requests: Sequence[Request], config: ServingConfig) -> None:
    """Raises RequestError where requests of one call ask for more candidates than clients may read."""
    total = sum(request.query.k for request in requests)
    if total > config.max_batch_candidates:
        raise RequestError(
            f"requests: {len(requests):,} with {total:,} candidates in all; at most {config.max_batch_candidates:,} "
            "are allowed in one call (serving.max_batch_candidates): split the batch, or ask for fewer"
        )
