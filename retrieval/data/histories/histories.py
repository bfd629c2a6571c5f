"""Histories: every user's events in time order, as memory-mapped arrays (compressed sparse rows by user).

Shapes: U users, N items, E events, A actions. Events of user u are rows offsets[u] to offsets[u + 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.arrays import Mask, Rows
from retrieval.data.reading.schema import ContextKind
from retrieval.errors import ArtifactError
from retrieval.storage import read_manifest, verify
from retrieval.storage.arrow import read_arrow, write_arrow

KIND = "histories"
NO_ACTION = "event"
"""The one action of events that have no action column."""
UNKNOWN_ACTION = "unknown"
"""The action of events whose action is empty."""


@dataclass(frozen=True)
class ContextColumn:
    """One context column of all events [E], on disk.

    `codes`: values int32 are rows of `dictionary`, -1 = missing. `int` (int64) and `float` (float64, NaN = missing):
    values themselves; `missing` (bool [E]) marks integers that are absent, None if none is.
    """

    name: str
    kind: ContextKind
    values: npt.NDArray[Any]
    dictionary: pa.Array | None
    missing: npt.NDArray[np.bool_] | None

    def take(self, rows: Rows) -> pa.Array:
        """Values of the given events [n], null where missing; text comes as a DictionaryArray."""
        taken = self.values[rows]
        if self.kind == "codes":
            return pa.DictionaryArray.from_arrays(pa.array(taken, mask=taken < 0), self.dictionary)
        if self.kind == "float":
            return pa.array(taken, from_pandas=True)
        return pa.array(taken, mask=None if self.missing is None else self.missing[rows])


@dataclass(frozen=True)
class Histories:
    """Events by user and time (stable: events of one moment keep the order of the files), memory-mapped."""

    path: Path
    user_ids: pa.Array
    """large_string [U]: ids of all users known, those without events too; integers ordered as numbers."""
    item_ids: pa.Array
    """large_string [N]: ids of all items known, those without events too."""
    offsets: Rows
    """int64 [U + 1]"""
    items: npt.NDArray[np.int32]
    """int32 [E]: rows of `item_ids`."""
    timestamps: Rows
    """int64 [E]: µs since the epoch, UTC."""
    actions: npt.NDArray[Any]
    """uint8 or int16 [E]: positions in `action_names`."""
    action_names: tuple[str, ...]
    context: Mapping[str, ContextColumn]
    snapshot: str
    """Hash of the inputs: the contents of the files, and the settings that say how they are read."""
    first_us: int
    last_us: int
    timestamp_unit: str
    rows: int
    """Rows of the event files; those not in here are counted in `rejected`."""
    rejected: Mapping[str, int]

    @property
    def users(self) -> int:
        """U"""
        return len(self.user_ids)

    @property
    def events(self) -> int:
        """E"""
        return len(self.items)

    def user_rows(self, ids: Sequence[str] | pa.Array) -> Rows:
        """Rows of the users with these ids, -1 for those unknown. int64 [n]."""
        return lookup(self.user_ids, ids)

    def item_rows(self, ids: Sequence[str] | pa.Array) -> Rows:
        """Rows of the items with these ids, -1 for those unknown. int64 [n]."""
        return lookup(self.item_ids, ids)

    def users_of(self, rows: Rows) -> Rows:
        """The user rows that the given events belong to. int64 [n]."""
        found: Rows = np.searchsorted(self.offsets, rows, side="right") - 1
        return found

    def first_rows_of(self, rows: Rows) -> Rows:
        """The row of its user's first event, for each of the given events. int64 [n]."""
        return np.asarray(self.offsets, np.int64)[self.users_of(rows)]

    def newest_before(self, rows: Rows, count: int, users: Rows | None = None) -> Rows:
        """The row where the newest `count` events of its user before each given row begin. int64 [n].

        A row may be one past its user's last event; then `users` int64 [n] says whose it is.
        """
        begins = self.first_rows_of(rows) if users is None else np.asarray(self.offsets)[users]
        return np.maximum(begins, rows - count)

    def action_mask(self, names: Sequence[str]) -> Mask:
        """Which actions are among `names`, bool [A]; all of them where `names` is empty."""
        return np.array([not names or name in names for name in self.action_names], np.bool_)


def lookup(known: pa.Array, ids: Sequence[str] | pa.Array) -> Rows:
    """Rows of `ids` in `known` (large_string), -1 for those not in it. int64 [n]."""
    texts = ids if isinstance(ids, (pa.Array, pa.ChunkedArray)) else pa.array(ids, pa.large_string())
    if texts.type != pa.large_string():
        texts = texts.cast(pa.large_string())
    found = pc.index_in(texts, known).fill_null(-1).to_numpy(zero_copy_only=False)
    rows: Rows = found.astype(np.int64)
    return rows


def open_histories(path: Path, *, full: bool = False) -> Histories:
    """Open histories that were built at `path`; sizes of all files are checked, with `full` their SHA-256 too.

    Raises ArtifactError that names what is damaged.
    """
    manifest = verify(path, kind=KIND) if full else read_manifest(path, kind=KIND)
    for name, record in manifest.files.items():
        file = path / name
        size = file.stat().st_size if file.is_file() else -1
        if size != record.size:
            raise ArtifactError(f"{file}: {size} bytes, the manifest says {record.size}: truncated or missing")
    facts = manifest.facts
    try:
        context = {str(c["name"]): _open_context(path, position, c) for position, c in enumerate(facts["context"])}
        return Histories(
            path=path,
            user_ids=read_ids(path / "user_ids.arrow"),
            item_ids=read_ids(path / "item_ids.arrow"),
            offsets=np.load(path / "offsets.npy", mmap_mode="r"),
            items=np.load(path / "items.npy", mmap_mode="r"),
            timestamps=np.load(path / "timestamps.npy", mmap_mode="r"),
            actions=np.load(path / "actions.npy", mmap_mode="r"),
            action_names=tuple(facts["action_names"]),
            context=context,
            snapshot=str(facts["snapshot"]),
            first_us=int(facts["first_us"]),
            last_us=int(facts["last_us"]),
            timestamp_unit=str(facts["timestamp_unit"]),
            rows=int(facts["rows"]),
            rejected=dict(facts["rejected"]),
        )
    except (KeyError, ValueError, OSError, pa.ArrowException) as error:
        raise ArtifactError(f"{path}: damaged histories: {error}") from error


def write_ids(path: Path, ids: pa.Array) -> None:
    """Write ids (or a context dictionary) as an Arrow file that can be mapped."""
    write_arrow(path, pa.table({"id": ids}).combine_chunks())


def read_ids(path: Path) -> pa.Array:
    """Map ids written by write_ids."""
    column = read_arrow(path).column("id")
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _open_context(path: Path, position: int, fact: Mapping[str, Any]) -> ContextColumn:
    missing = path / f"context-{position}-missing.npy"
    dictionary = path / f"context-{position}-dictionary.arrow"
    return ContextColumn(
        name=str(fact["name"]),
        kind=fact["kind"],
        values=np.load(path / f"context-{position}.npy", mmap_mode="r"),
        dictionary=read_ids(dictionary) if fact["kind"] == "codes" else None,
        missing=np.load(missing, mmap_mode="r") if missing.exists() else None,
    )
