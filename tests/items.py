"""A table of items for tests."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def make_items(count: int) -> pa.Table:
    """Items i0, i1, … with attributes of every kind; every 7th has none."""
    number = np.arange(count)
    missing = number % 7 == 6

    def with_nulls(values: list[object], kind: pa.DataType) -> pa.Array:
        return pa.array([None if m else v for v, m in zip(values, missing, strict=True)], kind)

    return pa.table(
        {
            "item_id": pa.array([f"i{i}" for i in number]),
            "number": pa.array(number),
            "colour": with_nulls([("red", "green", "blue")[i % 3] for i in number], pa.string()),
            "price": with_nulls([float(i % 100) for i in number], pa.float32()),
            "year": with_nulls([int(1990 + i % 30) for i in number], pa.int16()),
            "on_sale": with_nulls([bool(i % 2) for i in number], pa.bool_()),
            "genres": with_nulls([[f"g{i % 5}", f"g{i % 11}"][: i % 3] for i in number], pa.list_(pa.string())),
            "seen_at": with_nulls([int(i) * 1000 for i in number], pa.timestamp("ms")),
            "blob": with_nulls([b"x" for _ in number], pa.binary()),
        }
    )
