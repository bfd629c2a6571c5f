"""What a user tower is told of a user: plain raw values, for whoever asks one or sends them to where one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class History:
    """A user's engagement sequence, oldest first: raw item ids, action names, int64 µs since 1970 UTC."""

    item_ids: Sequence[str]
    actions: Sequence[str]
    timestamps: npt.NDArray[np.int64]


EMPTY_HISTORY = History((), (), np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True)
class UserInput:
    """All that the user tower is told: history, profile and context (raw values by column), request time in µs."""

    history: History = EMPTY_HISTORY
    profile: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    at: int = 0
