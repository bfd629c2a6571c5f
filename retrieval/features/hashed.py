"""Codes of many words at once: a hash table in two arrays.

A dict keeps its words, and the numbers they stand for, anywhere in memory; looking up a long history waits for each of
them in turn. Here the hashes are compared instead of the words, all at once: 12 times as fast for 16,000 of 100,000.
Two texts share a 64-bit hash about once in 10¹⁹ pairs; where two known ones do, no table is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from retrieval.arrays import Ints

_SPREAD = 2  # slots per word, at least


class HashedCodes:
    """Codes by the hash of a text, in this process only: Python's hashes of texts differ from process to process."""

    __slots__ = ("_codes", "_hashes", "_mask")

    def __init__(self, words: Sequence[str], first: int) -> None:
        """The codes of `words` count up from `first`. Raises ValueError where two words have one hash."""
        hashes = _hashes(words)
        if len(np.unique(hashes)) != len(hashes):
            raise ValueError("two words have the same hash")
        size = 1 << (_SPREAD * len(words)).bit_length()
        self._mask = size - 1
        self._hashes = np.zeros(size, np.int64)
        self._codes = np.zeros(size, np.int32)  # 0: an empty slot
        left, step = np.arange(len(words)), 0
        while len(left):
            slots = (hashes[left] + step) & self._mask
            free = self._codes[slots] == 0
            # of several words that want a slot, the last one written has it
            self._codes[slots[free]] = left[free] + first
            mine = self._codes[slots] == left + first
            self._hashes[slots[mine]] = hashes[left[mine]]
            left, step = left[~mine], step + 1

    def find(self, values: Sequence[Any]) -> Ints:
        """Codes int64 [n] of values that can be hashed, 0 for those not known. Raises TypeError for others."""
        hashes = _hashes(values)
        codes = np.zeros(len(hashes), np.int64)
        left, slots = np.arange(len(hashes)), hashes & self._mask
        while len(left):
            found = self._codes[slots]
            hit = (self._hashes[slots] == hashes[left]) & (found != 0)
            codes[left[hit]] = found[hit]
            on = ~hit & (found != 0)
            left, slots = left[on], (slots[on] + 1) & self._mask
        return codes


def _hashes(values: Sequence[Any]) -> Ints:
    return np.fromiter(map(hash, values), np.int64, len(values))
