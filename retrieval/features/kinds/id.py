"""Kind `id`: a code for every known id, hashed buckets for the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from retrieval.features.columns import Column
from retrieval.features.declaration import Declaration, Examples
from retrieval.features.kinds.categorical import Category, fit_vocabulary, required_vocabulary
from retrieval.features.kinds.transform import State


class IdFeature(Declaration):
    """A raw id (of an item, user, session): one code per known id, unknown ones share hashed buckets."""

    kind: Literal["id"] = "id"
    min_count: int = Field(1, ge=1, description="Ids seen less often in training count as unknown")
    max_size: int | None = Field(None, ge=1, description="Keep at most this many ids, the most frequent first")
    oov_buckets: int = Field(1, ge=1, le=1_000_000, description="Codes that unknown ids are hashed into")

    examples: ClassVar[Examples] = (("item", {"name": "creator", "column": "creator_id", "min_count": 5}),)

    def fit(self, columns: Iterator[Column]) -> Category:
        """Count the ids, and keep the frequent ones."""
        return Category(self, fit_vocabulary(self, columns))

    def restore(self, state: State) -> Category:
        """From its vocabulary."""
        return Category(self, required_vocabulary(state))
