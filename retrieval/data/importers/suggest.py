"""Settings that fit imported data: the [data] section, and a [features] section told from the columns' types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from retrieval.data.reading.schema import is_text, plain
from retrieval.toml_text import toml_text

_FEW = 1_000
_FEW_NUMBERS = 100


@dataclass(frozen=True)
class Suggestion:
    """Keys of [data] and [data.split], and features by side (user, item, context), each as its declaration's keys."""

    data: Mapping[str, Any] = field(default_factory=dict)
    split: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)

    def as_toml(self) -> str:
        """The sections as they stand in retrieval.toml."""
        data = {**self.data, **({"split": self.split} if self.split else {})}
        return toml_text({"data": data, "features": self.features})


def suggest_features(table: pa.Table, id_column: str, side: str) -> tuple[Mapping[str, Any], ...]:
    """A declaration for each column of a users or items table (or a sample of it) that can be one."""
    found = [suggest_feature(name, table.column(name), side) for name in table.column_names if name != id_column]
    return tuple(one for one in found if one is not None)


def suggest_feature(name: str, column: pa.ChunkedArray, side: str) -> Mapping[str, Any] | None:
    """The declaration that fits a column's type and its number of distinct values; None where none does.

    `side` is user, item or context. A date of an item becomes its year and month, which stay; its age would have to be
    learned as of each moment (`training.windows = "by_time"`), and is for whoever sets that.
    """
    told = _tell(column, side)
    if told is None:
        return None
    safe = re.sub(r"[^a-z0-9_]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")[:63]
    if not safe or not safe[0].isalpha():
        safe = f"f_{safe}"[:63]
    source = {} if safe == name and told["kind"] != "time" else {"column": name}  # time without one is the request's
    return {"kind": told.pop("kind"), "name": safe, **source, **told}


def _tell(column: pa.ChunkedArray, side: str) -> dict[str, Any] | None:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _tell_list(kind)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return {"kind": "time", "parts": ("year", "month")} if side == "item" else {"kind": "age"}
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return {"kind": "numeric", "method": "quantile"}
    if not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return None
    values = pa.chunked_array([plain(chunk) for chunk in column.chunks], kind)
    most = _FEW if is_text(kind) else _FEW_NUMBERS
    if pc.count_distinct(values).as_py() <= min(most, max(2, len(column) // 2)):
        return {"kind": "categorical"}
    return {"kind": "text"} if is_text(kind) else {"kind": "numeric", "method": "quantile"}


def _tell_list(kind: pa.DataType) -> dict[str, Any] | None:
    if is_text(kind.value_type):
        return {"kind": "multi_categorical"}
    if pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type):
        return {"kind": "vector", "size": kind.list_size}
    return None
