"""Item features that vary with time: what the log says of them as of a moment.

Others of them are stored as a column that stays, from which they are encoded as of a moment: an age, from a date.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.features.declaration import Declaration
from retrieval.features.spec import FeatureSpec

if TYPE_CHECKING:
    from retrieval.data.facts.activity import Activity


def needs_activity(spec: FeatureSpec) -> bool:
    """Whether any item feature of `spec` is read from the log."""
    return any(_from_log(feature) for feature in spec.item)


def stored_time_varying(spec: FeatureSpec) -> tuple[str, ...]:
    """Columns of the items from which time-varying features are encoded."""
    return tuple({str(one.source): None for one in spec.item if one.time_varying and one.stored})


def time_varying_columns(
    spec: FeatureSpec, activity: Activity, items: npt.NDArray[np.int64], at_us: int
) -> dict[str, pa.Array]:
    """Columns of what the log says of some items (catalog rows int64 [n]), from before `at_us`."""
    return {str(feature.source): feature.as_of(activity, items, at_us) for feature in spec.item if _from_log(feature)}


def _from_log(feature: Declaration) -> bool:
    return feature.time_varying and not feature.stored
