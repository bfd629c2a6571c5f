"""What a caller gets: candidates, and all that there is to say about how they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from retrieval.filters.values import ValueColumn
from retrieval.types import ModelVersion, SpaceId


@dataclass(frozen=True, slots=True)
class Source:
    """A model version that took part in an answer, with the shards it answered and their builds.

    These hold what was known of their items at `as_of` (µs), the oldest of them.
    """

    version: ModelVersion
    space_id: SpaceId
    builds: tuple[int, ...]
    shards: tuple[int, ...]
    as_of: int = 0


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


class IgnoredColumn(NamedTuple):
    """A column of the request that had no effect, as `context.page`: no feature reads it, or its value is NaN."""

    column: str
    reason: Literal["unknown", "nan"]

    def __str__(self) -> str:
        return f"{self.column} (NaN)" if self.reason == "nan" else self.column


@dataclass(frozen=True, slots=True)
class CandidateAnswer:
    """Candidates, best first, with what made them. `source_of_item` is empty when there is one source.

    `known`: there was a history to go by. `user_us`: time spent on looking the user up. `truncated`: a budget ended
    the search of some shard. `ignored`: what of the request's context and profile no version of these could use, and
    attributes of `seen_by` that the index lacks. `attributes`: those that were asked for, with each candidate's values.
    `new_items`: of the quota for new items that serving.exploration gives, how many there are.
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
    ignored: tuple[IgnoredColumn, ...] = ()
    attributes: Mapping[str, ValueColumn] = field(default_factory=dict)
    new_items: int = 0
