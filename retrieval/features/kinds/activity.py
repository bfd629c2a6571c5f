"""Kind `activity`: an item's share of all events in a trailing window, in logarithmic buckets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from retrieval.arrays import Ints
from retrieval.features.columns import Column
from retrieval.features.declaration import Declaration, Examples, Side
from retrieval.features.inputs import Encoded, FeatureInput
from retrieval.features.kinds.transform import State, codes_input
from retrieval.types import HOUR_US

if TYPE_CHECKING:
    from retrieval.data.facts.activity import Activity
    from retrieval.features.spec import HistorySpec

_OCTAVES = 24
"""Shares below 2⁻²⁴ count as that."""
_PER_OCTAVE = 4
CARDINALITY = 3 + _OCTAVES * _PER_OCTAVE


class ActivityFeature(Declaration):
    """An item's share of all events in the last `hours`, as seen at the training example's (or index) time.

    Read from the log itself, so it has no column. It varies with time: indexing reads it anew, so an index is as fresh
    as its build. History tokens leave it out. In training it needs `training.windows = "by_time"`.
    """

    kind: Literal["activity"] = "activity"
    hours: float = Field(24.0, gt=0, le=24 * 366, description="Length of the trailing window")

    time_varying: ClassVar[bool] = True
    examples: ClassVar[Examples] = (("item", {"name": "last_hour", "hours": 1.0}),)

    @property
    def source(self) -> str:
        """The reserved raw column that holds the share."""
        return f"activity:{self.hours:g}h"

    @property
    def stored(self) -> bool:
        """It is read from the log as of a moment."""
        return False

    def check(self, side: Side, history: HistorySpec) -> None:  # noqa: ARG002
        """Of items, and without a column."""
        check_from_log(self, side)

    def as_of(self, activity: Activity, items: npt.NDArray[np.int64], at_us: int) -> pa.Array:
        """Shares of the log's events in the window before `at_us`, null where it has no event at all."""
        window = int(self.hours * HOUR_US)
        total = activity.total(at_us, window)
        shares = activity.counts(items, at_us, window) / max(total, 1)
        return pa.array(shares, mask=np.full(len(items), total == 0))

    def fit(self, columns: Iterator[Column]) -> ActivityShare:  # noqa: ARG002
        """Nothing to learn."""
        return ActivityShare(self)

    def restore(self, state: State) -> ActivityShare:  # noqa: ARG002
        """Nothing was learned."""
        return ActivityShare(self)


def check_from_log(declaration: Declaration, side: Side) -> None:
    """What is read from the log is of items, and has no column. Raises ValueError."""
    if side != "item":
        raise ValueError(f"kind {declaration.kind!r} is for items")
    if declaration.column is not None:
        raise ValueError(f"kind {declaration.kind!r} is read from the log, it has no column")


@dataclass(frozen=True)
class ActivityShare:
    """The bucket of the share: 0 = not known, 1 = no event, then four buckets to a doubling, the last one all of it."""

    declaration: ActivityFeature

    def inputs(self, side: Side) -> tuple[FeatureInput, ...]:
        """One input of codes."""
        return (codes_input(self.declaration, side, CARDINALITY, unknown=2),)  # without an event nothing is known

    def encode(self, column: Column, at: Ints | None) -> Encoded:  # noqa: ARG002  # the share is as of then already
        """int64 [n]."""
        shares = column.numbers()
        known = ~np.isnan(shares)
        octaves = np.log2(np.where(known & (shares > 0), shares, 1.0)) + _OCTAVES
        buckets = 2 + np.clip(np.floor(octaves * _PER_OCTAVE), 0, _OCTAVES * _PER_OCTAVE).astype(np.int64)
        return {self.declaration.name: np.where(known, np.where(shares > 0, buckets, 1), 0)}

    def state(self) -> State:
        """Nothing."""
        return State()
