"""A tiny dataset with the public shape of retrieval.data's, so that features are tested without reading files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest


@dataclass(frozen=True)
class FakeContext:
    values: pa.Array

    def take(self, rows: Any) -> pa.Array:
        return self.values.take(pa.array(rows))


@dataclass(frozen=True)
class FakeHistories:
    user_ids: pa.Array
    item_ids: pa.Array
    offsets: Any
    items: Any
    timestamps: Any
    actions: Any
    action_names: tuple[str, ...]
    context: Mapping[str, FakeContext] = field(default_factory=dict)


@dataclass(frozen=True)
class FakeDataset:
    histories: FakeHistories
    users: pa.Table
    items: pa.Table


@dataclass(frozen=True)
class FakeSplit:
    train_end: Any


MakeDataset = Callable[..., tuple[FakeDataset, FakeSplit]]


def build(
    sequences: Sequence[Sequence[int]] = ((0, 1, 2), (0, 1), (0, 3)),
    *,
    items: int = 5,
    held_out: int = 1,
    user_columns: Mapping[str, Any] | None = None,
    item_columns: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
) -> tuple[FakeDataset, FakeSplit]:
    offsets = np.cumsum([0, *map(len, sequences)])
    flat = np.array([item for sequence in sequences for item in sequence], np.int32)
    histories = FakeHistories(
        user_ids=pa.array([f"u{row}" for row in range(len(sequences))]),
        item_ids=pa.array([f"i{row}" for row in range(items)]),
        offsets=offsets,
        items=flat,
        timestamps=np.arange(len(flat), dtype=np.int64) * 60_000_000,
        actions=np.zeros(len(flat), np.int16),
        action_names=("click", "save"),
        context={name: FakeContext(pa.array(values)) for name, values in (context or {}).items()},
    )
    users = pa.table({name: pa.array(values) for name, values in (user_columns or {}).items()})
    table = pa.table({name: pa.array(values) for name, values in (item_columns or {}).items()})
    return FakeDataset(histories, users, table), FakeSplit(offsets[1:] - held_out)


@pytest.fixture
def make_dataset() -> MakeDataset:
    return build
