"""Vocabularies: text → code. 0 is missing, 1 … B are buckets of unknown values, known values follow by frequency."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

MAX_KEY = 1024
"""Longer values (in characters) are never learned; they are encoded as unknown."""

_PRUNE_AT = 2_000_000


def stable_hash(key: str) -> int:
    """A 64-bit hash that is the same in every process, platform and release: BLAKE2b of the UTF-8 text."""
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def text_key(value: object) -> str | None:
    """The text that stands for a raw value in a vocabulary: None for None and NaN. Raises TypeError for other types.

    3, 3.0 and "3" are the same category, since JSON and protobuf Struct know no integers.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        return _number_key(float(value))
    if isinstance(value, (int, np.integer)) and abs(int(value)) < 1 << 127:
        return str(int(value))
    raise TypeError("not text, a number or a boolean")


def _number_key(number: float) -> str | None:
    if math.isnan(number):
        return None
    return str(int(number)) if number.is_integer() else repr(number)


class Vocabulary:
    """Known values in the order of their codes, and `oov_buckets` codes for all others. Immutable."""

    __slots__ = ("_index", "oov_buckets", "words")

    def __init__(self, words: Iterable[str], oov_buckets: int) -> None:
        self.words = tuple(words)
        self.oov_buckets = oov_buckets
        if oov_buckets < 1:
            raise ValueError("a vocabulary needs a bucket for unknown values")
        first = 1 + oov_buckets
        self._index = {word: code for code, word in enumerate(self.words, start=first)}
        if len(self._index) != len(self.words):
            raise ValueError("a vocabulary holds a word twice")

    @property
    def cardinality(self) -> int:
        """Number of codes: missing, buckets and known values."""
        return 1 + self.oov_buckets + len(self.words)

    def code(self, value: object) -> int:
        """The code of one raw value. Raises TypeError where it is of no type that can be a category."""
        key = text_key(value)
        if key is None:
            return 0
        known = self._index.get(key)
        return 1 + stable_hash(key) % self.oov_buckets if known is None else known

    def codes(self, values: Sequence[object]) -> list[int]:
        """The codes of many raw values, each as `code` gives it."""
        # Values of other types than text miss here, and go to `code`.
        get: Callable[[Any, int], int] = self._index.get
        try:
            found = [get(value, 0) for value in values]
        except TypeError:
            return [self.code(value) for value in values]
        if 0 in found:
            return [known or self.code(value) for known, value in zip(found, values, strict=True)]
        return found


class Counter:
    """Counts values in bounded memory: over two million distinct ones, the rarest are let go (lossy counting)."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._floor = 0

    def add(self, counts: Mapping[str, int]) -> None:
        """Add the counts of one block."""
        for key, count in counts.items():
            if len(key) <= MAX_KEY:
                self._counts[key] = self._counts.get(key, self._floor) + count
        while len(self._counts) > _PRUNE_AT:
            self._floor += 1
            self._counts = {key: count for key, count in self._counts.items() if count > self._floor}

    def vocabulary(self, *, min_count: int, max_size: int | None, oov_buckets: int) -> Vocabulary:
        """The most frequent first, ties by text; only those counted at least `min_count` times."""
        kept = [(key, count) for key, count in self._counts.items() if count >= min_count]
        kept.sort(key=lambda pair: (-pair[1], pair[0]))
        return Vocabulary((key for key, _ in kept[:max_size]), oov_buckets)
