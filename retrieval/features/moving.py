"""Raw values of item features that move with time, read from the log as of a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.features.spec import FeatureSpec

if TYPE_CHECKING:
    from retrieval.data.facts.activity import Activity


def has_moving(spec: FeatureSpec) -> bool:
    """Whether any feature of `spec` moves."""
    return any(feature.time_varying for feature in spec.item)


def moving_columns(
    spec: FeatureSpec, activity: Activity, items: npt.NDArray[np.int64], at_us: int
) -> dict[str, pa.Array]:
    """Columns of the moving features for some items (catalogue rows int64 [n]), from what happened before `at_us`."""
    return {str(feature.source): feature.as_of(activity, items, at_us) for feature in spec.item if feature.time_varying}
