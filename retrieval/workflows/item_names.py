"""Readable names of items, from the column that the settings name or one that looks like one of names."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.data import Dataset
from retrieval.data.config import DataConfig
from retrieval.data.reading.schema import ids_as_text, is_text
from retrieval.data.reading.sources import open_source, schema_of
from retrieval.errors import ConfigError
from retrieval.evaluation.reports.findings import ItemLabels
from retrieval.features.spec import FeatureSpec
from retrieval.workflows.workspace.workspace import Workspace

_NAMES = ("title", "name", "headline", "label", "description", "subject", "caption", "text")
_ROWS_AT_ONCE = 1 << 17


def item_labels(dataset: Dataset, config: DataConfig, spec: FeatureSpec, rows: Iterable[int]) -> ItemLabels:
    """Ids, and names where there is a column of them, of some catalog rows. Raises ConfigError."""
    chosen = np.array(sorted(set(rows)), np.int64)
    ids = dict(zip(chosen.tolist(), dataset.histories.item_ids.take(pa.array(chosen)).to_pylist(), strict=True))
    column = name_column(dataset.items.schema, dataset.items.column_names[0], config, spec)
    if column is None:
        return ItemLabels(ids, {}, None)
    values = _texts(dataset.items.column(column).take(pa.array(chosen)))
    return ItemLabels(ids, {row: name for row, name in zip(chosen.tolist(), values, strict=True) if name}, column)


def read_item_names(workspace: Workspace, item_ids: Collection[str]) -> dict[str, str]:
    """Names of those of the items that have one, by id; read from the items' files, in blocks. Raises ConfigError."""
    config = workspace.settings.data
    wanted = pa.array(sorted(set(item_ids)), pa.large_string())
    if not config.items or not len(wanted):
        return {}
    path = workspace.root / config.items
    column = name_column(schema_of(path, "items"), config.item_column, config, workspace.settings.features)
    if column is None:
        return {}
    names: dict[str, str] = {}
    for batch in open_source(path, "items", required=[config.item_column, column]).batches(_ROWS_AT_ONCE):
        ids = ids_as_text(batch.columns[config.item_column])
        here = pc.is_in(ids, wanted)
        found = zip(ids.filter(here).to_pylist(), _texts(batch.columns[column].filter(here)), strict=True)
        names |= {item: name for item, name in found if name}
    return names


def name_column(items: pa.Schema, id_column: str, config: DataConfig, spec: FeatureSpec) -> str | None:
    """The column that `data.item_name_column` names. Without one, the text column that is called title, name, …; one
    whose name holds such a word; or the first text feature's.

    Raises ConfigError for one that the items don't have.
    """
    named = config.item_name_column
    if named is not None:
        if named and named not in items.names:
            raise ConfigError(
                f"data.item_name_column names {named!r}, the items have no such column; they have: "
                f"{', '.join(items.names)}"
            )
        return named or None
    texts: list[str] = [field.name for field in items if is_text(field.type) and field.name != id_column]
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


def _texts(values: pa.Array) -> list[str]:
    """Values as text without space around it; empty where there is none."""
    return ["" if value is None else str(value).strip() for value in values.to_pylist()]
