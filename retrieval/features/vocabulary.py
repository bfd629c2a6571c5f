"""Vocabularies: text → code. 0 is missing, 1 … B are buckets of unknown values, known values follow by frequency."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from retrieval.features.hashed import HashedCodes

MAX_KEY = 1024
"""Longer values (in characters) are never learned; they are encoded as unknown."""

_log = logging.getLogger(__name__)
_MANY_VALUES, _MANY_WORDS = 64, 1 << 14  # from so many on, looking all up at once is quicker than one by one


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

    __slots__ = ("_hashed", "_index", "oov_buckets", "words")

    def __init__(self, words: Iterable[str], oov_buckets: int) -> None:
        self.words = tuple(words)
        self.oov_buckets = oov_buckets
        if oov_buckets < 1:
            raise ValueError("a vocabulary needs a bucket for unknown values")
        self._index = {word: code for code, word in enumerate(self.words, start=self.first)}
        if len(self._index) != len(self.words):
            raise ValueError("a vocabulary holds a word twice")
        self._hashed: HashedCodes | None = None  # of many words; made when many values are first asked for

    def __reduce__(self) -> tuple[type[Vocabulary], tuple[tuple[str, ...], int]]:
        """Another process hashes texts in another way: it makes tables of its own."""
        return Vocabulary, (self.words, self.oov_buckets)

    @property
    def first(self) -> int:
        """The code of the first known value; those below are missing and the buckets of unknown values."""
        return 1 + self.oov_buckets

    @property
    def cardinality(self) -> int:
        """Number of codes: missing, buckets and known values."""
        return self.first + len(self.words)

    def code(self, value: object) -> int:
        """The code of one raw value. Raises TypeError where it is of no type that can be a category."""
        key = text_key(value)
        if key is None:
            return 0
        known = self._index.get(key)
        if known is not None:
            return known
        return 1 if self.oov_buckets == 1 else 1 + stable_hash(key) % self.oov_buckets

    def codes(self, values: Sequence[object]) -> list[int]:
        """The codes of many raw values, each as `code` gives it."""
        if len(values) >= _MANY_VALUES and self.prepare():
            codes: list[int] = self.array(values).tolist()
            return codes
        # Values of other types than text miss here, and go to `code`.
        get: Callable[[Any], int | None] = self._index.get
        try:
            found = list(map(get, values))
        except TypeError:
            return [self.code(value) for value in values]
        if None in found:
            return [self.code(value) if known is None else known for known, value in zip(found, values, strict=True)]
        return found  # type: ignore[return-value]

    def array(self, values: Sequence[object]) -> npt.NDArray[np.int64]:
        """The same as int64 [n]."""
        if len(values) < _MANY_VALUES or not self.prepare():
            return np.array(self.codes(values), np.int64)
        assert self._hashed is not None
        try:
            found = self._hashed.find(values)
        except TypeError:
            return np.array([self.code(value) for value in values], np.int64)
        for missed in np.flatnonzero(found == 0).tolist():
            found[missed] = self.code(values[missed])
        return found

    def prepare(self) -> bool:
        """Make what is quicker for many values, where there are so many words that it is; so the first call needn't."""
        if self._hashed is None and len(self.words) >= _MANY_WORDS:
            try:
                self._hashed = HashedCodes(self.words, self.first)
            except ValueError:  # two words of one hash, in one of 10⁷ processes with a million words
                return False
        return self._hashed is not None


class Counter:
    """Counts values, every one exactly: memory grows with the distinct ones, not with how often they occur."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, counts: Mapping[str, int]) -> None:
        """Add the counts of one block."""
        for key, count in counts.items():
            if len(key) <= MAX_KEY:
                self._counts[key] = self._counts.get(key, 0) + count

    def vocabulary(self, *, min_count: int, max_size: int | None, oov_buckets: int, name: str = "") -> Vocabulary:
        """The most frequent first, ties by text; only those counted at least `min_count` times, at most `max_size`.

        What the two leave out is said in the log, for the feature `name`.
        """
        frequent = [(key, count) for key, count in self._counts.items() if count >= min_count]
        frequent.sort(key=lambda pair: (-pair[1], pair[0]))
        words = [key for key, _ in frequent[:max_size]]
        if len(words) < len(self._counts):
            _log.info(
                "%s: %s of %s values are not learned (seen less than %s times: %s, beyond max_size: %s)",
                name or "vocabulary",
                f"{len(self._counts) - len(words):,}",
                f"{len(self._counts):,}",
                min_count,
                f"{len(self._counts) - len(frequent):,}",
                f"{len(frequent) - len(words):,}",
            )
        return Vocabulary(words, oov_buckets)
