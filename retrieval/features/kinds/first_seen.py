"""Kind `first_seen`: how long before the request an item had its first event."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.features.columns import Column
from retrieval.features.declaration import Declaration, Examples, Side
from retrieval.features.kinds.activity import check_from_log
from retrieval.features.kinds.age import Age
from retrieval.features.kinds.transform import State

if TYPE_CHECKING:
    from retrieval.data.facts.activity import Activity
    from retrieval.features.spec import HistorySpec

FIRST_EVENT = "first_event_at"
"""Reserved item column: time in µs of an item's first event before the moment asked about, None where there is none."""


class FirstSeenFeature(Declaration):
    """How long ago an item had its first event, in logarithmic buckets; varies with time, and is read from the log."""

    kind: Literal["first_seen"] = "first_seen"

    time_varying: ClassVar[bool] = True
    examples: ClassVar[Examples] = (("item", {"name": "seen_for"}),)

    @property
    def source(self) -> str:
        """The reserved column."""
        return FIRST_EVENT

    @property
    def stored(self) -> bool:
        """It is read from the log as of a moment."""
        return False

    def check(self, side: Side, history: HistorySpec) -> None:  # noqa: ARG002
        """Of items, and without a column."""
        check_from_log(self, side)

    def as_of(self, activity: Activity, items: npt.NDArray[np.int64], at_us: int) -> pa.Array:
        """Times of the first events in µs, null where there is none."""
        first = activity.first_us(items, at_us)
        return pa.array(first, mask=first < 0)

    def fit(self, columns: Iterator[Column]) -> Age:  # noqa: ARG002
        """Nothing to learn."""
        return Age(self)

    def restore(self, state: State) -> Age:  # noqa: ARG002
        """Nothing was learned."""
        return Age(self)
