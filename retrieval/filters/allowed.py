"""Sets of rows of items, packed into bits: what a filter leaves, and the sets that were asked for lately."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import cached_property

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Mask
from retrieval.filters.filter import Filter

Bits = npt.NDArray[np.uint64]
"""uint64 [ceil(n / 64)]: bit r % 64 of word r // 64 is row r; the bits beyond n are 0."""
_MOST_SETS = 256


class Allowed:
    """The rows, out of `total`, that a query may be answered with: `bits`, and `count` of them."""

    def __init__(self, bits: Bits, total: int) -> None:
        self.bits = bits
        self.count = _bits_set(bits)
        self._total = total

    @cached_property
    def mask(self) -> Mask:
        """bool [n], derived when first asked for."""
        return np.unpackbits(_bytes(self.bits), count=self._total, bitorder="little").view(np.bool_)

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """int64, ascending; derived when first asked for."""
        return np.flatnonzero(self.mask).astype(np.int64, copy=False)

    @property
    def nbytes(self) -> int:
        """Memory that it takes now, with what was derived."""
        # a copy of the values at once: another thread may be deriving one
        return sum(part.nbytes for part in tuple(vars(self).values()) if isinstance(part, np.ndarray))


class RecentlyAllowed:
    """What recent filters left, those asked for last cached longest, within `most_bytes`. Thread-safe."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._sets: OrderedDict[Filter, Allowed] = OrderedDict()
        self._bytes: dict[Filter, int] = {}  # of each, when it was last asked for
        self._held = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._sets)

    def get(self, filter_: Filter) -> Allowed | None:
        """What is known of a filter."""
        with self._lock:
            if (found := self._sets.get(filter_)) is not None:
                self._sets.move_to_end(filter_)
                self._weigh(filter_, found.nbytes)
            return found

    def put(self, filter_: Filter, made: Allowed) -> None:
        """Remember, and forget what has not been asked for the longest where that is too much."""
        with self._lock:
            self._sets[filter_] = made
            self._weigh(filter_, made.nbytes)
            while len(self._sets) > 1 and (self._held > self._most_bytes or len(self._sets) > _MOST_SETS):
                forgotten, _ = self._sets.popitem(last=False)
                self._held -= self._bytes.pop(forgotten)

    def _weigh(self, filter_: Filter, now: int) -> None:
        """What was derived since it was put here counts, too."""
        self._held += now - self._bytes.get(filter_, 0)
        self._bytes[filter_] = now


def packed(mask: Mask) -> Bits:
    """A mask bool [n] as bits."""
    words = np.zeros((len(mask) + 63) // 64, dtype="<u8")
    found = np.packbits(mask, bitorder="little")
    words.view(np.uint8)[: len(found)] = found
    return words.astype(np.uint64, copy=False)


def all_rows(total: int) -> Bits:
    """The bits of every one of `total` rows."""
    return packed(np.ones(total, dtype=np.bool_))


def _bits_set(bits: Bits) -> int:
    if hasattr(np, "bitwise_count"):  # numpy 2
        return int(np.bitwise_count(bits).sum())
    return int.from_bytes(bits.tobytes(), "little").bit_count()


def _bytes(bits: Bits) -> npt.NDArray[np.uint8]:
    return bits.astype("<u8", copy=False).view(np.uint8)
