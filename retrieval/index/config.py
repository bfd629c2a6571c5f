"""Settings of `[index]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from retrieval.config import Section
from retrieval.data.config import parse_moment
from retrieval.index.backends import BACKENDS


class IndexConfig(Section):
    """How the corpus (see `[corpus]`) is encoded, sharded and indexed."""

    moved: ClassVar[Mapping[str, str]] = {"active_days": "corpus.engaged_days"}

    shards: int = Field(1, ge=1, le=4096, description="Number of shards that the corpus is hashed into.")
    ann: Annotated[str, BACKENDS] = Field("native", description=f"How a shard is searched. {BACKENDS.summaries()}.")
    M: int = Field(16, ge=2, le=256, description="Links per node of the graph (twice as many at its lowest level).")
    ef_construction: int = Field(200, ge=8, le=4096, description="Candidates weighed while a node is linked in.")
    ef_search: int = Field(300, ge=1, le=65536, description="Candidates kept while searching, unless a request says.")
    min_recall: float = Field(
        0.97, ge=0.0, le=1.0, description="A build whose measured recall is lower is not published."
    )
    measured_k: int = Field(100, ge=1, le=2000, description="Recall is measured at this many candidates.")
    recall_queries: int = Field(500, ge=1, le=100_000, description="How many queries recall is measured with.")
    seed: int = Field(1, ge=0, lt=2**31, description="Seeds the graph's levels and the sampled queries.")
    threads: int = Field(
        0, ge=0, le=1024, description="Threads of the graph build; 0 = all cores, 1 = the same graph every time."
    )
    batch_size: int = Field(4096, ge=1, le=1 << 20, description="Items encoded at a time.")
    attributes: tuple[str, ...] | None = Field(
        None, description="Item columns that requests may filter on; all of a suitable type when left out."
    )
    as_of: str = Field(
        "",
        description="Build the index of this moment (ISO 8601, UTC): the corpus as it was, items encoded as they were "
        "seen then; empty = after the last event.",
    )

    @field_validator("as_of")
    @classmethod
    def _is_moment(cls, text: str) -> str:
        if text:
            parse_moment(text)
        return text
