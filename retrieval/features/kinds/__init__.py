"""The kinds of features: one small file each, and the one dict that names them."""

from __future__ import annotations

from typing import Any

from retrieval.features.kinds.activity import ActivityShare
from retrieval.features.kinds.age import Age
from retrieval.features.kinds.category import Category
from retrieval.features.kinds.multi import Bag
from retrieval.features.kinds.numeric import Numeric
from retrieval.features.kinds.text import Words
from retrieval.features.kinds.time import TimeParts
from retrieval.features.kinds.transform import State, Transform
from retrieval.features.kinds.vector import Vector

# A kind is a class with `fit` and `restore` (see transform.Kind).
KINDS: dict[str, Any] = {
    "id": Category,
    "categorical": Category,
    "multi_categorical": Bag,
    "numeric": Numeric,
    "time": TimeParts,
    "age": Age,
    "since_last": Age,
    "activity": ActivityShare,
    "first_seen": Age,
    "vector": Vector,
    "text": Words,
}

__all__ = ["KINDS", "State", "Transform"]
