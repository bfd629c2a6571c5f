"""The heart of the candidate service: plan, embed, search, merge, for a micro-batch of queries. Knows no gRPC.

The protocol of DESIGN rules 3 and 4: vectors are made for the space that the planned hosts are believed to serve, and
sent with its name; a host that serves another refuses and says which; then the plan is made anew. Nothing is ever
searched with a vector of another space.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from retrieval.errors import DeadlineError, RequestError, RetrievalError, UnavailableError
from retrieval.serving.core.fleet import Fleet
from retrieval.serving.core.held_towers import TowerShelf
from retrieval.serving.core.merge import by_nearest, by_rank, by_score
from retrieval.serving.core.planning import Leg, Plan, Space
from retrieval.serving.core.query import Answer, Pending, Query, Source, Timings
from retrieval.serving.wire.ann_client import HostAnswer, HostRefusedError, query_message
from retrieval.v1 import ann_pb2

_log = logging.getLogger(__name__)
_PAUSE_S = 0.05  # between looks at a fleet that can't answer now, if nothing changes

Floats = npt.NDArray[np.float32]


class _Call(Protocol):
    def result(self) -> HostAnswer: ...
    def cancel(self) -> None: ...


class Searcher(Protocol):
    """What is needed of the connections to the hosts."""

    def search(
        self, address: str, space_id: str, vectors: Floats, queries: Sequence[ann_pb2.SearchQuery], timeout_s: float
    ) -> _Call:
        """Begin a search."""


@dataclass(slots=True)
class _Round:
    """What a batch has so far: vectors by space ([n, D], of E interests [n, E, D]), answers by shard."""

    queries: Sequence[Query]
    messages: list[ann_pb2.SearchQuery]
    deadline: float
    vectors: dict[Space, Floats] = field(default_factory=dict)
    answers: dict[int, tuple[Leg, HostAnswer]] = field(default_factory=dict)
    attempts: int = 0
    tower_s: float = 0.0
    search_s: float = 0.0
    trouble: str = ""

    def interests(self, space: Space) -> int:
        """How many vectors each user has in a space that they were embedded in."""
        vectors = self.vectors[space]
        return 1 if vectors.ndim == 2 else vectors.shape[1]

    def left(self) -> float:
        return self.deadline - time.monotonic()


class Engine:
    """Answers micro-batches. Thread-safe."""

    def __init__(
        self, fleet: Fleet, shelf: TowerShelf, searcher: Searcher, *, search_timeout_s: float, patience_s: float
    ) -> None:
        """`patience_s`: how long a shard without any host is waited for; a tower that is loading, to the deadline."""
        self._fleet, self._shelf, self._searcher = fleet, shelf, searcher
        self._search_timeout_s, self._patience_s = search_timeout_s, patience_s

    def answer(self, batch: Sequence[Pending]) -> None:
        """Settle every pending query of the batch, with an answer or an error. Never raises."""
        now = time.monotonic()
        for late in [piece for piece in batch if piece.deadline <= now]:
            late.fail(DeadlineError("the deadline passed while the request waited for its turn"))
        pieces = [piece for piece in batch if piece.deadline > now]
        if not pieces:
            return
        started = time.perf_counter()
        try:
            self._settle(pieces, started)
        except RequestError as error:
            if len(pieces) == 1:
                pieces[0].fail(error)
                return
            # One bad request shall not take the others with it
            half = len(pieces) // 2
            self.answer(pieces[:half])
            self.answer(pieces[half:])
        except RetrievalError as error:
            for piece in pieces:
                piece.fail(error)
        except Exception as error:  # noqa: BLE001 - the callers get it
            _log.exception("a micro-batch failed in a way that was not foreseen")
            for piece in pieces:
                piece.fail(error)

    def _settle(self, pieces: Sequence[Pending], started: float) -> None:
        queries = [piece.query for piece in pieces]
        work = _Round(queries, [query_message(q.terms) for q in queries], max(piece.deadline for piece in pieces))
        plan = self._gather(work)
        for position, piece in enumerate(pieces):
            piece.settle(_merge(work, plan, position, queue_s=started - piece.entered))

    def _gather(self, work: _Round) -> Plan:
        """Ask until every leg of one plan has answered; returns that plan."""
        prefer: Space | None = None
        while True:
            plan = self._plan(work, prefer)
            prefer = plan.legs[0].space if plan.one_space else None
            work.attempts += 1
            missing = [leg for leg in plan.legs if not _has(work, leg)]
            if self._embed(work, missing) and self._ask(work, missing):
                return plan

    def _plan(self, work: _Round, prefer: Space | None) -> Plan:
        impatient = time.monotonic() + self._patience_s
        while True:
            if work.left() <= 0:
                raise DeadlineError(f"the deadline passed after {work.attempts} attempts. {work.trouble}".strip())
            epoch = self._fleet.epoch
            options = self._fleet.options()
            plan = options.choose(prefer)
            if plan is not None:
                return plan
            work.trouble = options.missing
            if time.monotonic() > impatient and not options.awaits_tower:
                raise UnavailableError(options.missing)
            self._fleet.wait_for_change(epoch, min(_PAUSE_S, work.left()))

    def _embed(self, work: _Round, legs: Sequence[Leg]) -> bool:
        """Make the vectors that the legs need; False where a tower was let go meanwhile."""
        started = time.perf_counter()
        for space in {leg.space for leg in legs} - work.vectors.keys():
            tower = self._shelf.get(space)
            if tower is None:
                self._fleet.towers_changed()
                return False
            work.vectors[space] = tower.embed([query.user for query in work.queries])
        work.tower_s += time.perf_counter() - started
        return True

    def _ask(self, work: _Round, legs: Sequence[Leg]) -> bool:
        """Search on all legs at once and keep what they answer; False where one did not."""
        started = time.perf_counter()
        left = work.left()
        if left <= 0:
            return False
        timeout = min(left, self._search_timeout_s)
        calls = [self._search(work, leg, timeout) for leg in legs]
        complete = True
        try:
            for leg, call in zip(legs, calls, strict=True):
                complete &= self._collect(work, leg, call, ours=left <= self._search_timeout_s)
        except RetrievalError:
            for call in calls:
                call.cancel()
            raise
        finally:
            work.search_s += time.perf_counter() - started
        return complete

    def _search(self, work: _Round, leg: Leg, timeout_s: float) -> _Call:
        """A user with several vectors is as many queries, one after another."""
        vectors, interests = work.vectors[leg.space], work.interests(leg.space)
        messages = work.messages
        if interests > 1:
            vectors = vectors.reshape(-1, vectors.shape[-1])
            messages = [message for message in messages for _ in range(interests)]
        return self._searcher.search(leg.address, leg.build.space_id, vectors, messages, timeout_s)

    def _collect(self, work: _Round, leg: Leg, call: _Call, *, ours: bool) -> bool:
        """Keep one leg's answer. `ours`: a deadline that passes is the requests' own, and says nothing of the host."""
        try:
            found = call.result()
        except HostRefusedError as error:
            work.trouble = str(error)
            if error.metadata is None:
                self._fleet.lost(leg.address, str(error))
            else:
                self._fleet.heard(leg.address, error.metadata)
            return False
        except (UnavailableError, DeadlineError) as error:
            work.trouble = str(error)
            if isinstance(error, UnavailableError) or not ours:
                self._fleet.lost(leg.address, str(error))
            return False
        self._fleet.heard(leg.address, found.metadata)
        served = found.metadata.active
        if served is not None and served.shards != leg.build.shards:
            return False  # another cut of the same space: its part would leave out items of ours
        work.answers[leg.build.shard] = (leg, found)
        return True


def _has(work: _Round, leg: Leg) -> bool:
    """Whether an earlier round brought this shard's answer in the space that the plan is for."""
    held = work.answers.get(leg.build.shard)
    return held is not None and held[0].space == leg.space and held[0].build.shards == leg.build.shards


def _merge(work: _Round, plan: Plan, position: int, queue_s: float) -> Answer:
    started = time.perf_counter()
    query = work.queries[position]
    found = [work.answers[leg.build.shard][1] for leg in plan.legs]
    item_ids, scores, truncated = [], [], False
    for leg, answer in zip(plan.legs, found, strict=True):
        interests = work.interests(leg.space)
        lists = slice(position * interests, (position + 1) * interests)
        names, best = by_nearest(answer.item_ids[lists], answer.scores[lists], query.terms.k)
        item_ids.append(names)
        scores.append(best)
        truncated |= any(answer.truncated[lists])
    sources, of_shard = _sources(found, plan)
    source_of_item: list[int] = []
    if len(sources) == 1:
        merged, merged_scores = by_score(item_ids, scores, query.terms.k)
    else:
        merged, merged_scores, shards = by_rank(item_ids, scores, query.terms.k)
        source_of_item = [of_shard[shard] for shard in shards]
    timings = Timings(
        queue_us=int(queue_s * 1e6),
        tower_us=int(work.tower_s * 1e6),
        search_us=int(work.search_s * 1e6),
        host_search_us=max(answer.search_us for answer in found),
        merge_us=int((time.perf_counter() - started) * 1e6),
        batch_size=len(work.queries),
        attempts=work.attempts,
    )
    return Answer(
        item_ids=merged,
        scores=merged_scores,
        sources=sources,
        source_of_item=source_of_item,
        by_rank=len(sources) > 1,
        shards_asked=len(plan.legs),
        shards_answered=len(found),
        known=query.known,
        user_us=query.user_us,
        timings=timings,
        truncated=truncated,
    )


def _sources(found: Sequence[HostAnswer], plan: Plan) -> tuple[tuple[Source, ...], list[int]]:
    """What made the answer, by the hosts' own word; and for each shard, which of them."""
    by_space: dict[Space, list[tuple[int, int]]] = {}
    spaces = []
    for answer, leg in zip(found, plan.legs, strict=True):
        served = answer.metadata.active or leg.build
        space = served.version, served.space_id
        spaces.append(space)
        by_space.setdefault(space, []).append((served.build.number, served.shard))
    order = list(by_space)
    sources = tuple(
        Source(space[0], space[1], tuple(b for b, _ in parts), tuple(s for _, s in parts))
        for space, parts in by_space.items()
    )
    return sources, [order.index(space) for space in spaces]
