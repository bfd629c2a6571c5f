"""What a tower is told about its inputs, and what it is given for one history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from retrieval.features.declaration import Side

Form = Literal["codes", "bag", "values"]
Codes = npt.NDArray[np.int64]
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
    moving: bool = False
    """Its value for an item changes with time (see `Declaration.time_varying`)."""


@dataclass(frozen=True, slots=True)
class HistoryInputs:
    """Cardinalities of the three codes of a history token, BOS and PAD included.

    A token's item code is the code of the item's `item_id` feature; `bos` and `pad` are the two codes after them.
    The action and gap of BOS and PAD are 0. `chunks`: how many numbers the chunks of older events may have; 0 where
    there are none (see `features/older.py`), else `older` is one more code, that of their tokens.
    """

    items_cardinality: int
    actions_cardinality: int
    gaps_cardinality: int
    bos: int
    pad: int
    chunks: int = 0

    @property
    def older(self) -> int:
        """The item code of a chunk's token, where there are chunks."""
        return self.pad + 1


@dataclass(frozen=True, slots=True)
class OlderEvents:
    """Events before those that are tokens of their own, oldest first: codes of item and action, µs; int64 [T] each."""

    items: Codes
    actions: Codes
    times: Codes


@dataclass(frozen=True, slots=True)
class EncodedHistory:
    """One user's history, BOS first, oldest event next: int64 [l + 1] each, l ≤ the spec's length.

    `gaps[t]` is the bucket of the time between event t and the event before it; 0 where there is none (BOS, the oldest
    event kept) or features.history.time is off. `times` are raw µs, of BOS that of the oldest event kept, or the
    request's where there is none. `older`: the events before these, up to the spec's `older`; None where that is 0.
    """

    items: Codes
    actions: Codes
    gaps: Codes
    times: Codes
    older: OlderEvents | None = None
