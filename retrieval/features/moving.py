"""Raw values of item features that move with time, read from the log as of a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.features.spec import MOVING, ActivityFeature, FeatureSpec

if TYPE_CHECKING:
    from retrieval.data.facts.activity import Activity

_HOUR_US = 3_600_000_000


def has_moving(spec: FeatureSpec) -> bool:
    """Whether any feature of `spec` moves."""
    return any(isinstance(feature, MOVING) for feature in spec.item)


def moving_columns(
    spec: FeatureSpec, activity: Activity, items: npt.NDArray[np.int64], at_us: int
) -> dict[str, pa.Array]:
    """Columns of the moving features for some items (catalogue rows int64 [n]), from what happened before `at_us`.

    Shares of the log's events are null where the window has no event at all, first events where there is none.
    """
    columns: dict[str, pa.Array] = {}
    for feature in spec.item:
        if not isinstance(feature, MOVING):
            continue
        if isinstance(feature, ActivityFeature):
            window = int(feature.hours * _HOUR_US)
            total = activity.total(at_us, window)
            shares = activity.counts(items, at_us, window) / max(total, 1)
            columns[feature.source] = pa.array(shares, mask=np.full(len(items), total == 0))
        else:
            first = activity.first_us(items, at_us)
            columns[feature.source] = pa.array(first, mask=first < 0)
    return columns
