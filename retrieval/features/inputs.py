"""What a tower is told about its inputs, and what it is given for one history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Codes
from retrieval.features.declaration import Side

Form = Literal["codes", "bag", "values"]
Encoded = dict[str, npt.NDArray[np.int64] | npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class FeatureInput:
    """One input of a tower: all that is needed to build its embedding or linear layer.

    form     array that `Features.encode` gives for n rows
    codes    int64 [n], 0 = missing, below `cardinality`
    bag      int64 [n, width], padded with 0, below `cardinality`
    values   float32 [n, width]; `cardinality` is 0
    """

    name: str
    side: Side
    form: Form
    cardinality: int
    width: int
    dim: int | None
    unknown: int = 1
    """Codes below it stand for what is not known of the value: 0 = missing, and the buckets of unknown values."""
    missing: tuple[float, ...] = ()
    """Form `values`: what stands for a missing value, [width]; zeros where it is empty."""
    time_varying: bool = False
    """Its value changes with time (see `Declaration.time_varying`)."""


@dataclass(frozen=True, slots=True)
class HistoryInputs:
    """Cardinalities of the three codes of a history token, BOS and PAD included.

    A token's item code is the code of the item's `item_id` feature; after these come the codes of new items, which have
    a token of their own by their features (see `Features.new_items`). `bos` and `pad` are the two codes after them.
    The action and gap of BOS and PAD are 0. `chunks`: how many numbers the chunks of a history may have; 0 where there
    are none (see `features/chunks.py`), else `chunk` is one more code, that of their tokens.
    """

    items_cardinality: int
    actions_cardinality: int
    gaps_cardinality: int
    bos: int
    pad: int
    chunks: int = 0

    @property
    def chunk(self) -> int:
        """The item code of a chunk's token, where there are chunks."""
        return self.pad + 1


@dataclass(frozen=True, slots=True)
class Events:
    """Events of n histories, one history after another, each oldest first.

    items, actions: int64 [T] codes. times: int64 [T] µs. counts: int64 [n], how many are of each history.
    """

    items: Codes
    actions: Codes
    times: Codes
    counts: Codes

    @classmethod
    def join(cls, parts: Sequence[Events]) -> Events:
        """The events of several, in their order."""
        if len(parts) == 1:
            return parts[0]
        items, actions, times, counts = zip(*((p.items, p.actions, p.times, p.counts) for p in parts), strict=True)
        return cls(np.concatenate(items), np.concatenate(actions), np.concatenate(times), np.concatenate(counts))


@dataclass(frozen=True, slots=True)
class EncodedHistories:
    """Events of n histories that are tokens of their own, and those before them that are read in chunks.

    `chunked` is None where features.history.older is 0: no history has chunks then.
    """

    newest: Events
    chunked: Events | None = None

    @classmethod
    def join(cls, parts: Sequence[EncodedHistories]) -> EncodedHistories:
        """Several as one, in their order; all with chunks, or none."""
        chunked = [part.chunked for part in parts if part.chunked is not None]
        return cls(Events.join([part.newest for part in parts]), Events.join(chunked) if chunked else None)
