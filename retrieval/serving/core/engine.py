"""The heart of the candidate service: plan, embed, search, merge, for a micro-batch of queries.

The protocol of DESIGN rules 3 and 4: vectors are made for the space that the planned hosts are believed to serve, and
sent with its name; a host that serves another refuses and says which; then the plan is made anew. Nothing is ever
searched with a vector of another space.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from retrieval.arrays import Vectors
from retrieval.errors import DeadlineError, RequestError, RetrievalError, UnavailableError
from retrieval.serving.core.answer import CandidateAnswer, IgnoredColumn, Source, Timings
from retrieval.serving.core.fleet import Fleet
from retrieval.serving.core.held_towers import HeldTowers
from retrieval.serving.core.hosts import HostAnswer, HostConnections, HostRefusedError, HostSearch, SearchCall
from retrieval.serving.core.ignored import ignored_columns, refuse
from retrieval.serving.core.merge import by_nearest, by_rank, by_score
from retrieval.serving.core.metadata import ServedBuild
from retrieval.serving.core.pending import Pending
from retrieval.serving.core.planning import Leg, Plan, Space

_log = logging.getLogger(__name__)
_PAUSE_S = 0.05  # between looks at a fleet that can't answer now, if nothing changes


@dataclass(slots=True)
class _Round:
    """What a batch has so far: vectors by space ([n, D], of E interests [n, E, D]), answers by shard.

    `ignored`: by space, what of each request its tower can't use.
    """

    pieces: Sequence[Pending]
    deadline: float
    vectors: dict[Space, Vectors] = field(default_factory=dict)
    ignored: dict[Space, list[tuple[IgnoredColumn, ...]]] = field(default_factory=dict)
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
        self,
        fleet: Fleet,
        towers: HeldTowers,
        hosts: HostConnections,
        *,
        search_timeout_s: float,
        patience_s: float,
        strict_inputs: bool = False,
    ) -> None:
        """`patience_s`: how long a shard without any host is waited for; a tower that is loading, to the deadline.

        `strict_inputs`: a request with columns that its tower can't use is refused.
        """
        self._fleet, self._towers, self._hosts = fleet, towers, hosts
        self._search_timeout_s, self._patience_s = search_timeout_s, patience_s
        self._strict_inputs = strict_inputs

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
        work = _Round(pieces, max(piece.deadline for piece in pieces))
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
            if self._embed(work, missing) and self._search(work, missing):
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
            tower = self._towers.get(space)
            if tower is None:
                self._fleet.towers_changed()
                return False
            ignored = [ignored_columns(tower, piece.user.context, piece.profile) for piece in work.pieces]
            if self._strict_inputs:
                for columns in ignored:
                    refuse(tower, columns)
            work.ignored[space] = ignored
            work.vectors[space] = tower.embed([piece.user for piece in work.pieces])
        work.tower_s += time.perf_counter() - started
        return True

    def _search(self, work: _Round, legs: Sequence[Leg]) -> bool:
        """Search on all legs at once and keep what they answer; False where one did not."""
        started = time.perf_counter()
        left = work.left()
        if left <= 0:
            return False
        timeout = min(left, self._search_timeout_s)
        calls = self._hosts.search([_host_search(work, leg) for leg in legs], timeout)
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

    def _collect(self, work: _Round, leg: Leg, call: SearchCall, *, ours: bool) -> bool:
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


def _host_search(work: _Round, leg: Leg) -> HostSearch:
    """What a leg's host is asked; a user with several vectors is as many queries, one after another."""
    vectors, interests = work.vectors[leg.space], work.interests(leg.space)
    queries = [piece.query for piece in work.pieces for _ in range(interests)]
    return HostSearch(leg.address, leg.build.space_id, vectors.reshape(-1, vectors.shape[-1]), queries)


def _has(work: _Round, leg: Leg) -> bool:
    """Whether an earlier round brought this shard's answer in the space that the plan is for."""
    held = work.answers.get(leg.build.shard)
    return held is not None and held[0].space == leg.space and held[0].build.shards == leg.build.shards


def _merge(work: _Round, plan: Plan, position: int, queue_s: float) -> CandidateAnswer:
    started = time.perf_counter()
    piece = work.pieces[position]
    k = piece.query.k
    found = [work.answers[leg.build.shard][1] for leg in plan.legs]
    by_shard = []
    for leg, answer in zip(plan.legs, found, strict=True):
        interests = work.interests(leg.space)
        by_shard.append(by_nearest(answer.hits[position * interests : (position + 1) * interests], k))
    sources, of_shard = _sources(found, plan)
    source_of_item: list[int] = []
    if len(sources) == 1:
        merged, merged_scores = by_score(by_shard, k)
    else:
        merged, merged_scores, shards = by_rank(by_shard, k)
        source_of_item = [of_shard[shard] for shard in shards]
    timings = Timings(
        queue_us=int(queue_s * 1e6),
        tower_us=int(work.tower_s * 1e6),
        search_us=int(work.search_s * 1e6),
        host_search_us=max(answer.search_us for answer in found),
        merge_us=int((time.perf_counter() - started) * 1e6),
        batch_size=len(work.pieces),
        attempts=work.attempts,
    )
    return CandidateAnswer(
        item_ids=merged,
        scores=merged_scores,
        sources=sources,
        source_of_item=source_of_item,
        by_rank=len(sources) > 1,
        shards_asked=len(plan.legs),
        shards_answered=len(found),
        known=piece.known,
        user_us=piece.user_us,
        timings=timings,
        truncated=any(hits.truncated for hits in by_shard),
        ignored=tuple(dict.fromkeys(one for leg in plan.legs for one in work.ignored[leg.space][position])),
    )


def _sources(found: Sequence[HostAnswer], plan: Plan) -> tuple[tuple[Source, ...], list[int]]:
    """What made the answer, by the hosts' own word; and for each shard, which of them."""
    by_space: dict[Space, list[ServedBuild]] = {}
    spaces = []
    for answer, leg in zip(found, plan.legs, strict=True):
        served = answer.metadata.active or leg.build
        space = served.version, served.space_id
        spaces.append(space)
        by_space.setdefault(space, []).append(served)
    order = list(by_space)
    sources = tuple(
        Source(
            *space,
            builds=tuple(part.build.number for part in parts),
            shards=tuple(part.shard for part in parts),
            as_of=min(part.as_of for part in parts),
        )
        for space, parts in by_space.items()
    )
    return sources, [order.index(space) for space in spaces]
