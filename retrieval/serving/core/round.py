"""What a micro-batch has gathered on its way through the engine, and the answers that are made of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from retrieval.arrays import Vectors
from retrieval.serving.core.answer import CandidateAnswer, IgnoredColumn, Source, Timings
from retrieval.serving.core.attributes import FoundAttributes
from retrieval.serving.core.hosts import HostAnswer, HostSearch
from retrieval.serving.core.merge import by_nearest, by_rank, by_score
from retrieval.serving.core.metadata import ServedBuild
from retrieval.serving.core.pending import Pending
from retrieval.serving.core.planning import Leg, Plan, Space


@dataclass(slots=True)
class Round:
    """What a batch has so far: vectors by space ([n, D], of E interests [n, E, D]), attributes of what its users saw
    last, answers by shard.

    `ignored`: by space, what of each request its tower can't use.
    """

    pieces: Sequence[Pending]
    deadline: float
    vectors: dict[Space, Vectors] = field(default_factory=dict)
    ignored: dict[Space, list[tuple[IgnoredColumn, ...]]] = field(default_factory=dict)
    seen: FoundAttributes | None = None
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
        """Seconds to the deadline."""
        return self.deadline - time.monotonic()


def host_search(work: Round, leg: Leg) -> HostSearch:
    """What a leg's host is asked; a user with several vectors is as many queries, one after another."""
    vectors, interests = work.vectors[leg.space], work.interests(leg.space)
    queries = [piece.query for piece in work.pieces for _ in range(interests)]
    return HostSearch(leg.address, leg.build.space_id, vectors.reshape(-1, vectors.shape[-1]), queries)


def has_answered(work: Round, leg: Leg) -> bool:
    """Whether an earlier round brought this shard's answer in the space that the plan is for."""
    held = work.answers.get(leg.build.shard)
    return held is not None and held[0].space == leg.space and held[0].build.shards == leg.build.shards


def merged(work: Round, plan: Plan, position: int, queue_s: float) -> CandidateAnswer:
    """The shards' answers to one of the batch's requests as one."""
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
        items, scores = by_score(by_shard, k)
    else:
        items, scores, shards = by_rank(by_shard, k)
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
        item_ids=items,
        scores=scores,
        sources=sources,
        source_of_item=source_of_item,
        by_rank=len(sources) > 1,
        shards_asked=len(plan.legs),
        shards_answered=len(found),
        known=piece.known,
        user_us=piece.user_us,
        timings=timings,
        truncated=any(hits.truncated for hits in by_shard),
        ignored=(
            *dict.fromkeys(one for leg in plan.legs for one in work.ignored[leg.space][position]),
            *(piece.seen.ignored(work.seen) if piece.seen is not None and work.seen is not None else ()),
        ),
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
