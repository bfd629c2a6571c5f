"""Raw values of time-varying item features, read from the log as of a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.features.spec import FeatureSpec

if TYPE_CHECKING:
    from retrieval.data.facts.activity import Activity


def has_time_varying(spec: FeatureSpec) -> bool:
    """Whether any item feature of `spec` varies with time."""
    return any(feature.time_varying for feature in spec.item)


def time_varying_columns(
    spec: FeatureSpec, activity: Activity, items: npt.NDArray[np.int64], at_us: int
) -> dict[str, pa.Array]:
    """Columns of the time-varying features for some items (catalog rows int64 [n]), from before `at_us`."""
    return {str(feature.source): feature.as_of(activity, items, at_us) for feature in spec.item if feature.time_varying}
