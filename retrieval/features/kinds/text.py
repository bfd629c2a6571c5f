"""Kind `text`: a bag of hashed words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from retrieval.arrays import Ints
from retrieval.features.columns import Column
from retrieval.features.declaration import Declaration, Examples, Side
from retrieval.features.inputs import Encoded, FeatureInput
from retrieval.features.kinds.transform import State
from retrieval.features.vocabulary import stable_hash

MAX_CHARACTERS = 65_536
"""Text after this many characters is not read: far more than `max_words` needs, and a bound on a request's cost."""

_WORD = re.compile(r"[^\W_]+")


def words(text: str, limit: int) -> list[str]:
    """The first `limit` distinct words of a text: NFKC, lower case, letters and digits only."""
    plain = unicodedata.normalize("NFKC", text[:MAX_CHARACTERS]).lower()
    found: dict[str, None] = {}
    for match in _WORD.finditer(plain):
        found[match.group()] = None
        if len(found) == limit:
            break
    return list(found)


class TextFeature(Declaration):
    """Free text as hashed words: NFKC, lower case, cut at what is neither letter nor digit."""

    kind: Literal["text"] = "text"
    buckets: int = Field(4096, ge=2, le=10_000_000, description="Codes that words are hashed into")
    max_words: int = Field(16, ge=1, le=1024, description="Distinct words read per row; those after it are left out")

    examples: ClassVar[Examples] = (("item", {"name": "title"}),)

    def fit(self, columns: Iterator[Column]) -> Words:
        """Nothing to learn, but a wrong type is found before training."""
        made = Words(self)
        for column in columns:
            made.encode(column, None)
        return made

    def restore(self, state: State) -> Words:  # noqa: ARG002
        """Nothing was learned."""
        return Words(self)


@dataclass(frozen=True)
class Words:
    """Codes 1 + hash(word) mod buckets: int64 [n, max_words], padded with 0."""

    declaration: TextFeature

    def inputs(self, side: Side) -> tuple[FeatureInput, ...]:
        """One bag."""
        made = self.declaration
        return (FeatureInput(made.name, side, "bag", 1 + made.buckets, made.max_words, made.dim),)

    def encode(self, column: Column, at: Ints | None) -> Encoded:  # noqa: ARG002  # the same for all kinds
        """int64 [n, max_words]."""
        values, positions = column.uniques()
        bags = np.zeros((len(values), self.declaration.max_words), np.int64)
        for row, value in enumerate(values):
            codes = self._codes(column, value)
            bags[row, : len(codes)] = codes
        return {self.declaration.name: bags if positions is None else bags[positions]}

    def state(self) -> State:
        """Nothing."""
        return State()

    def _codes(self, column: Column, value: object) -> list[int]:
        if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124  # NaN is a missing value
            return []
        if not isinstance(value, str):
            raise column.wrong(value, "text")
        return [1 + stable_hash(word) % self.declaration.buckets for word in words(value, self.declaration.max_words)]
