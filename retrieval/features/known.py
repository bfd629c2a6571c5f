"""Whether anything is known of items, from their encoded features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from retrieval.arrays import Mask
from retrieval.features.inputs import FeatureInput
from retrieval.features.spec import ITEM_ID


def id_known(inputs: Sequence[FeatureInput], encoded: Mapping[str, np.ndarray[Any, Any]]) -> Mask:
    """Of n items, those with an id that training met: bool [n]."""
    mine = next(one for one in inputs if one.name == ITEM_ID)
    return np.asarray(encoded[ITEM_ID] >= mine.unknown)


def anything_known(inputs: Sequence[FeatureInput], encoded: Mapping[str, np.ndarray[Any, Any]]) -> Mask:
    """Of n items, those of which the id or a value of any feature is known: bool [n].

    `inputs` are those of the item side, `encoded` their arrays as of a moment. Of an item of which nothing is known,
    all that its vector says is what it says of any other such item.
    """
    known = np.zeros(len(encoded[ITEM_ID]), np.bool_)
    for one in inputs:
        values = encoded[one.name]
        if one.form == "values":
            given = values != np.array(one.missing or [0.0] * one.width, values.dtype)
        else:
            given = values >= one.unknown
        known |= given if given.ndim == 1 else given.any(1)
    return known
