"""Encoded inputs in bulk, from a dataset's tables and histories: what training and offline evaluation feed the towers.

The same `Features.encode` as in serving; only where the raw values come from differs. N items, V codes, P positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from retrieval.arrays import Ints, Mask
from retrieval.data import Activity, Dataset, Histories, item_activity
from retrieval.features import (
    ITEM_ID,
    LAST_EVENT,
    FeatureInput,
    Features,
    anything_known,
    needs_activity,
    stored_time_varying,
    time_varying_columns,
)
from retrieval.towers.artifact import input_key

_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class TimeVaryingInputs:
    """Encoded item features that change with time, as of any moment."""

    features: Features
    stored: pa.Table
    """Of every catalog item, the columns that such features are encoded from."""
    activity: Activity | None
    """What the log says, where any of them reads it."""

    def items(self, rows: Ints, at_us: int) -> dict[str, Tensor]:
        """Inputs of some catalog rows, int64 [n], as seen at `at_us`, from what happened before."""
        taken = self.stored.take(pa.array(rows))
        columns = {name: taken.column(name) for name in taken.column_names}
        if self.activity is not None:
            columns |= time_varying_columns(self.features.spec, self.activity, rows, at_us)
        at = np.full(len(rows), at_us)
        return tensors(self.features.encode("item", columns, len(rows), at, time_varying=True))


@dataclass(frozen=True)
class ItemInputs:
    """Encoded features of all items: by catalog row [N], and by the code that an item has as a token of histories [V].

    A code that stands for no single item (missing, unknown) has no other features. Time-varying features are in here
    as of one moment; `time_varying` gives them as of others, None where there are none.
    """

    by_item: Mapping[str, Tensor]
    by_code: Mapping[str, Tensor]
    time_varying: TimeVaryingInputs | None = None

    def items(self, rows: Tensor, at_us: int | None = None) -> dict[str, Tensor]:
        """Inputs of some catalog rows, int64 [n]; time-varying ones as of `at_us`, where it is given."""
        encoded = {name: values[rows] for name, values in self.by_item.items()}
        if self.time_varying is None or at_us is None:
            return encoded
        then = self.time_varying.items(rows.cpu().numpy(), at_us)
        return {**encoded, **{name: values.to(rows.device) for name, values in then.items()}}

    @property
    def tokens(self) -> int:
        """V, the number of codes."""
        return len(self.by_code[ITEM_ID])

    def codes(self, codes: Tensor) -> dict[str, Tensor]:
        """Inputs of some codes, int64 [n]."""
        return {name: values[codes] for name, values in self.by_code.items()}

    def to(self, device: torch.device) -> ItemInputs:
        """The same on another device."""
        return ItemInputs(_on_device(self.by_item, device), _on_device(self.by_code, device), self.time_varying)


def item_inputs(dataset: Dataset, features: Features, at_us: int) -> ItemInputs:
    """Encode the whole catalog as seen at `at_us`."""
    activity = item_activity(dataset.histories) if needs_activity(features.spec) else None
    table = with_time_varying(dataset.items, features, activity, at_us)
    by_item = encode_items(features, table, dataset.histories.item_ids, at_us)
    vocabulary = features.item_vocabulary
    missing = features.encode("item", {}, 1, np.array([at_us]))
    by_code = {name: np.repeat(values, features.history_inputs().bos, 0) for name, values in missing.items()}
    by_code[ITEM_ID][:] = 1  # of new items that this catalog lacks
    by_code[ITEM_ID][: vocabulary.cardinality] = np.arange(vocabulary.cardinality)
    codes = features.token_codes(dataset.histories.item_ids)
    one_each = np.flatnonzero(codes >= vocabulary.first)
    for name, values in by_item.items():
        by_code[name][codes[one_each]] = values[one_each]
    varying = any(one.time_varying for one in features.inputs("item"))
    stored = [name for name in stored_time_varying(features.spec) if name in dataset.items.column_names]
    then = TimeVaryingInputs(features, dataset.items.select(stored).combine_chunks(), activity) if varying else None
    return ItemInputs(tensors(by_item), tensors(by_code), then)


def catalog_at(items: pa.Table, histories: Histories, features: Features, at_us: int) -> pa.Table:
    """A table of the whole catalog with what its items' features read from the log, from before `at_us`."""
    activity = item_activity(histories) if needs_activity(features.spec) else None
    return with_time_varying(items, features, activity, at_us)


def with_time_varying(items: pa.Table, features: Features, activity: Activity | None, at_us: int) -> pa.Table:
    """The catalog's table with a raw column for each time-varying feature, as of `at_us`, or as it is without any."""
    if activity is None:
        return items
    rows = np.arange(items.num_rows)
    for name, column in time_varying_columns(features.spec, activity, rows, at_us).items():
        items = items.append_column(name, column)
    return items


def encode_items(
    features: Features, items: pa.Table, item_ids: pa.Array, at_us: int
) -> dict[str, npt.NDArray[np.int64] | npt.NDArray[np.float32]]:
    """Encoded features of the items of a table and their ids, as seen at `at_us`: arrays [N, ...] by input name."""
    blocks = []
    for start in range(0, max(len(item_ids), 1), _ROWS_AT_ONCE):
        ids = item_ids.slice(start, _ROWS_AT_ONCE)
        columns = read_columns(items.slice(start, _ROWS_AT_ONCE), ids, "item_id", features.columns("item"))
        blocks.append(features.encode("item", columns, len(ids), np.full(len(ids), at_us)))
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def known_items(features: Features, items: pa.Table, at_us: int) -> Mask:
    """Of the items of a table with an `item_id` column, those of which anything is known at `at_us`: bool [n]."""
    ids = items.column(ITEM_ID)
    ids = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    known = features.id_codes(ids) >= features.item_vocabulary.first
    rows = pa.array(np.flatnonzero(~known))
    if len(rows):
        encoded = encode_items(features, items.take(rows), ids.take(rows), at_us)
        known[~known] = anything_known(features.inputs("item"), encoded)
    return known


def read_columns(table: pa.Table, ids: pa.Array, id_column: str, names: tuple[str, ...]) -> dict[str, pa.Array]:
    """The named columns of a table, the ids themselves under `id_column`; those the table lacks are left out."""
    found = {name: table.column(name) for name in names if name in table.column_names}
    return {**found, id_column: ids} if id_column in names else found


class SideInputs:
    """Profile and context of training positions."""

    def __init__(self, dataset: Dataset, features: Features) -> None:
        self._histories: Histories = dataset.histories
        self._features = features
        self._profile_columns = features.columns("user")
        self._context_columns = features.columns("context")
        columns = [name for name in self._profile_columns if name in dataset.users.column_names]
        self._users: pa.Table = dataset.users.select(columns).combine_chunks()
        self._profile_inputs = features.inputs("user")
        self._fixed_inputs = tuple(one for one in self._profile_inputs if not one.time_varying)
        self._varying_inputs = tuple(one for one in self._profile_inputs if one.time_varying)
        self._context_inputs = features.inputs("context")
        self._unknown = tensors(features.encode("user", {}, 1, np.zeros(1, np.int64))) if self._profile_inputs else {}

    def read(self, users: Ints, row: Ints, next_event: Ints, previous: Ints) -> dict[str, Tensor]:
        """Inputs by `input_key` for P positions: `users` [B] of a batch, and of each position its row in the batch,
        the rows of the next event and of the one before it (-1: none), int64 [P].
        """
        side: dict[str, Tensor] = {}
        at = np.asarray(self._histories.timestamps[next_event])
        if self._fixed_inputs:  # encoded once a user
            rows = torch.from_numpy(row)
            side.update({key: values[rows] for key, values in self._profile(self._fixed_inputs, users, None).items()})
        if self._varying_inputs:  # as of each position
            side.update(self._profile(self._varying_inputs, users[row], at))
        if self._context_inputs:
            side.update(self._context(next_event, previous, at))
        return side

    def _profile(self, inputs: tuple[FeatureInput, ...], users: Ints, at: Ints | None) -> dict[str, Tensor]:
        """Profile inputs of some users, those that vary with time as of some times, int64 [n] each."""
        chosen = pa.array(users)
        columns = read_columns(
            self._users.take(chosen), self._histories.user_ids.take(chosen), "user_id", self._profile_columns
        )
        encoded = self._features.encode("user", columns, len(users), at, time_varying=at is not None)
        return _keyed(inputs, tensors(encoded))

    def hide_profiles(self, side: dict[str, Tensor], hidden: Tensor) -> dict[str, Tensor]:
        """The same inputs with the profile of the positions `hidden` (bool [P]) as that of an unknown user."""
        blank = _keyed(self._profile_inputs, self._unknown)
        shown = {}
        for name, values in side.items():
            mask = hidden.view(-1, *[1] * (values.dim() - 1))
            shown[name] = torch.where(mask, blank[name].to(values.device), values) if name in blank else values
        return shown

    def _context(self, next_event: Ints, previous: Ints, at: Ints) -> dict[str, Tensor]:
        columns = {
            name: self._histories.context[name].take(next_event)
            for name in self._context_columns
            if name in self._histories.context
        }
        if LAST_EVENT in self._context_columns:
            times = self._histories.timestamps[np.maximum(previous, 0)]
            columns[LAST_EVENT] = pa.array(np.asarray(times), mask=previous < 0)
        return _keyed(self._context_inputs, tensors(self._features.encode("context", columns, len(next_event), at)))


def tensors(encoded: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Encoded arrays as tensors, without copying."""
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in encoded.items()}


def _keyed(inputs: tuple[FeatureInput, ...], encoded: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {input_key(feature): encoded[feature.name] for feature in inputs}


def _on_device(encoded: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: values.to(device) for name, values in encoded.items()}
