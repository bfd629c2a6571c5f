"""Readable names of items, from a column that looks like one of names."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from retrieval.data import Dataset
from retrieval.evaluation.reports.findings import ItemLabels
from retrieval.features.spec import FeatureSpec

_NAMES = ("title", "name", "headline", "label", "description", "subject", "caption", "text")


def item_labels(dataset: Dataset, spec: FeatureSpec, rows: Iterable[int]) -> ItemLabels:
    """Ids, and names where there is a column of them, of some catalog rows."""
    chosen = np.array(sorted(set(rows)), np.int64)
    ids = dict(zip(chosen.tolist(), dataset.histories.item_ids.take(pa.array(chosen)).to_pylist(), strict=True))
    column = name_column(dataset.items, spec)
    if column is None:
        return ItemLabels(ids, {}, None)
    values = dataset.items.column(column).take(pa.array(chosen)).to_pylist()
    names = {row: value for row, value in zip(chosen.tolist(), values, strict=True) if value and value.strip()}
    return ItemLabels(ids, names, column)


def name_column(items: pa.Table, spec: FeatureSpec) -> str | None:
    """The text column that is called title, name, …; one whose name holds such a word; or the first text feature's.

    The id column, the table's first, is none.
    """
    texts: list[str] = [field.name for field in items.schema if _is_text(field.type)]
    texts = [name for name in texts if name != items.column_names[0]]
    for word in _NAMES:
        exact = [name for name in texts if name.lower() == word]
        if exact:
            return exact[0]
    for word in _NAMES:
        holding = [name for name in texts if word in name.lower()]
        if holding:
            return holding[0]
    features = [feature.column or feature.name for feature in spec.item if feature.kind == "text"]
    return next((name for name in features if name in texts), None)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
