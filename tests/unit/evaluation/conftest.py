"""Histories made from plain lists, without files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from retrieval.data.histories.histories import ContextColumn, Histories


def build_histories(
    sequences: Sequence[Sequence[int]],
    items: int,
    *,
    times: Sequence[int] | None = None,
    context: Mapping[str, Sequence[str]] | None = None,
) -> Histories:
    offsets = np.cumsum([0, *map(len, sequences)]).astype(np.int64)
    flat = np.array([item for sequence in sequences for item in sequence], np.int32)
    return from_arrays(offsets, flat, np.arange(len(flat)) if times is None else np.array(times), items, context or {})


def from_arrays(offsets: Any, flat: Any, times: Any, items: int, context: Mapping[str, Sequence[str]]) -> Histories:
    columns = {}
    for name, values in context.items():
        encoded = pa.array(values, pa.large_string()).dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        columns[name] = ContextColumn(name, "codes", codes, encoded.dictionary, None)
    return Histories(
        path=Path("none"),
        user_ids=pa.array([f"u{row}" for row in range(len(offsets) - 1)], pa.large_string()),
        item_ids=pa.array([f"i{row}" for row in range(items)], pa.large_string()),
        offsets=offsets,
        items=flat,
        timestamps=times.astype(np.int64),
        actions=np.zeros(len(flat), np.uint8),
        action_names=("event",),
        context=columns,
        snapshot="made",
        first_us=0,
        last_us=int(times.max()) if len(times) else 0,
        timestamp_unit="us",
        rows=len(flat),
        rejected={},
    )


@pytest.fixture
def make_histories() -> Callable[..., Histories]:
    return build_histories


@pytest.fixture(scope="session")
def ml1m(shared_data: Path) -> Histories:
    import pyarrow.parquet as pq

    folder = shared_data / "ml1m"
    events = pq.read_table(folder / "events.parquet")
    user, item = (events.column(name).to_numpy() for name in ("user_id", "item_id"))
    order = np.lexsort((events.column("position").to_numpy(), user))
    catalog = np.sort(pq.read_table(folder / "items.parquet").column("item_id").to_numpy())
    offsets = np.concatenate([[0], np.cumsum(np.unique(user, return_counts=True)[1])])
    flat = np.searchsorted(catalog, item[order]).astype(np.int32)
    return from_arrays(offsets, flat, events.column("timestamp").to_numpy()[order] * 1_000_000, len(catalog), {})
