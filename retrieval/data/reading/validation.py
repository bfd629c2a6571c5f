"""Checking events row by row: what can't be used goes to a rejects dataset with a reason, and nothing vanishes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.arrays import Ints, Mask
from retrieval.data.config import DataConfig
from retrieval.data.reading.forgotten import NOBODY, Forgotten, load_forgotten
from retrieval.data.reading.rejects import REJECTS_SCHEMA, RejectsWriter, as_shown
from retrieval.data.reading.schema import (
    MAX_ID_BYTES,
    IdKind,
    Ids,
    Times,
    detect_unit,
    id_kind,
    is_text,
    to_ids,
    to_micros,
)
from retrieval.data.reading.sources import Batch, Source, open_source
from retrieval.data.reading.until import event_files
from retrieval.errors import DataError
from retrieval.observability import SILENT, Tracker
from retrieval.types import HOUR_US

FORGOTTEN = "user was forgotten"
REASONS = (
    "",
    "user is empty",
    "user is not an id",
    f"user is longer than {MAX_ID_BYTES} bytes",
    "user is not valid UTF-8",
    "item is empty",
    "item is not an id",
    f"item is longer than {MAX_ID_BYTES} bytes",
    "item is not valid UTF-8",
    "timestamp is empty",
    "timestamp can't be read",
    "timestamp is negative",
    "timestamp is in the future",
    "action or context is not valid UTF-8",
    FORGOTTEN,
)
"""Why a row is refused, by code; 0 = it is not. A row with several flaws is counted once, under the first."""

_EMPTY, _NOT_ID, _LONG, _NOT_UTF8 = range(4)
_USER, _ITEM = 1, 5
_T_EMPTY, _T_UNREADABLE, _T_NEGATIVE, _T_FUTURE, _OTHER_NOT_UTF8, _FORGOTTEN = 9, 10, 11, 12, 13, 14
DEFAULT_ACTION_COLUMN = "action"


@dataclass(frozen=True)
class EventLayout:
    """How the events of one dataset are read: columns, kinds of ids, unit of time, and the latest plausible moment.

    Events of users who are `forgotten` are left out.
    """

    source: Source
    user: str
    item: str
    timestamp: str
    action: str | None
    context: tuple[str, ...]
    user_kind: IdKind
    item_kind: IdKind
    unit: str
    latest_us: int
    forgotten: Forgotten = NOBODY
    until_us: int | None = None
    """Events from this moment on are left out."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One batch after checking: the usable rows in canonical form, and the refused ones for the rejects dataset."""

    rows: int
    users: pa.Array
    items: pa.Array
    micros: Ints
    action: pa.Array | None
    context: dict[str, pa.Array]
    rejects: pa.RecordBatch | None
    outside: int = 0
    """Rows that come later than what is asked for: neither used nor refused."""


@dataclass
class Report:
    """What checking found: `rows` = `good` + `outside` + the sum of `rejected`."""

    rows: int = 0
    good: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    unit: str = ""
    outside: int = 0
    """Rows from `data.until` on."""

    def add(self, checked: Checked) -> None:
        """Count one batch. The sums must agree, or rows were lost here."""
        bad = 0
        if checked.rejects is not None:
            bad = checked.rejects.num_rows
            self.refuse(checked.rejects)
        self.rows += checked.rows
        self.good += len(checked.micros)
        self.outside += checked.outside
        assert checked.rows == len(checked.micros) + bad + checked.outside, "rows in = usable + rejected + left out"

    def refuse(self, rejects: pa.RecordBatch) -> None:
        """Count refused rows by reason."""
        for entry in rejects.column("reason").value_counts().to_pylist():
            self.rejected[entry["values"]] = self.rejected.get(entry["values"], 0) + entry["counts"]


def open_events(
    config: DataConfig,
    root: Path,
    *,
    other_ids: Mapping[str, pa.DataType] | None = None,
    now_us: int | None = None,
    files: Sequence[Path] | None = None,
) -> EventLayout:
    """Open the events that the settings name; of their files only `files`, where given.

    `other_ids` holds the types of the id columns "users" and "items" in their own tables; all must fit together. Raises
    DataError for a missing file or column, or a type of no use.
    """
    path = root / config.events
    required = [config.user_column, config.item_column, config.timestamp_column, *config.context_columns]
    if config.action_column:
        required.append(config.action_column)
    default_action = DEFAULT_ACTION_COLUMN not in required and config.action_column is None
    optional = [DEFAULT_ACTION_COLUMN] if default_action else []
    files = event_files(config, root).files if files is None else files
    source = open_source(path, "events", required=required, optional=optional, files=files)
    if source.rows == 0:
        raise DataError(f"{path}: holds 0 events; expected at least one row")
    if default_action:
        action = DEFAULT_ACTION_COLUMN if DEFAULT_ACTION_COLUMN in source.types else None
    else:
        action = config.action_column or None
    others = other_ids or {}
    now = time.time_ns() // 1000 if now_us is None else now_us
    return EventLayout(
        source=source,
        user=config.user_column,
        item=config.item_column,
        timestamp=config.timestamp_column,
        action=action,
        context=config.context_columns,
        user_kind=_kind(path, config.user_column, source, others.get("users")),
        item_kind=_kind(path, config.item_column, source, others.get("items")),
        unit=timestamp_unit(source, config.timestamp_column, config.timestamp_unit),
        latest_us=now + int(config.future_hours * HOUR_US),
        forgotten=load_forgotten(config, root),
        until_us=config.until_us,
    )


def batch_rows(memory_limit_mb: int) -> int:
    """Rows to read at once: an eighth of the memory at about 200 bytes a row."""
    return int(np.clip(memory_limit_mb * 1_000_000 // 8 // 200, 1 << 15, 1 << 20))


def check_events(layout: EventLayout, batch_rows: int) -> Iterator[Checked]:
    """Stream the events, checked and in canonical form, in the order of the files."""
    for batch in layout.source.batches(batch_rows):
        yield check_batch(layout, batch)


def check_batch(layout: EventLayout, batch: Batch) -> Checked:
    """Check the rows of one batch."""
    raw_users, raw_items = batch.columns[layout.user], batch.columns[layout.item]
    raw_times = batch.columns[layout.timestamp]
    users, items = to_ids(raw_users, layout.user_kind), to_ids(raw_items, layout.item_kind)
    try:
        times = to_micros(raw_times, layout.unit)
    except DataError as error:
        raise DataError(f"{batch.file}: column {layout.timestamp!r}: {error}") from error
    action = batch.columns[layout.action] if layout.action else None
    context = {name: batch.columns[name] for name in layout.context}
    reason = np.zeros(batch.rows, np.uint8)
    for column in (*context.values(), *([] if action is None else [action])):
        _mark(reason, _broken_text(column), _OTHER_NOT_UTF8)
    _mark(reason, times.micros > layout.latest_us, _T_FUTURE)
    _mark(reason, times.micros < 0, _T_NEGATIVE)
    _mark(reason, times.unreadable, _T_UNREADABLE)
    _mark(reason, times.missing, _T_EMPTY)
    _mark_ids(reason, items, _ITEM)
    _mark_ids(reason, users, _USER)
    if layout.forgotten:
        _mark(reason, layout.forgotten.covers(users.values, times.micros), _FORGOTTEN)
    later = _later(layout, times, reason == _T_FUTURE)
    if later is not None:
        reason[later] = 0
    if not reason.any() and later is None:
        return Checked(batch.rows, users.values, items.values, times.micros, action, context, None)
    good = reason == 0 if later is None else (reason == 0) & ~later
    keep = pa.array(good)
    bad = np.flatnonzero(reason)
    return Checked(
        rows=batch.rows,
        users=users.values.filter(keep),
        items=items.values.filter(keep),
        micros=times.micros[good],
        action=None if action is None else action.filter(keep),
        context={name: column.filter(keep) for name, column in context.items()},
        rejects=_rejects(batch, bad, reason[bad], (raw_users, raw_items, raw_times)) if len(bad) else None,
        outside=0 if later is None else int(later.sum()),
    )


def _later(layout: EventLayout, times: Times, implausible: Mask) -> Mask | None:
    """Which rows lie at `until_us` or after it, but for implausible ones; None where none does."""
    if layout.until_us is None:
        return None
    later: Mask = (times.micros >= layout.until_us) & ~implausible
    for unknown in (times.missing, times.unreadable):
        later = later if unknown is None else later & ~unknown
    return later if later.any() else None


def validate_events(
    config: DataConfig, root: Path, rejects: Path | None, *, batch_rows: int = 1 << 18, tracker: Tracker = SILENT
) -> Report:
    """Check all events; refused rows are written to the Parquet file `rejects`, which exists only if there are any."""
    layout = open_events(config, root)
    report = Report(unit=layout.unit)
    with RejectsWriter(rejects) as writer:
        for checked in check_events(layout, batch_rows):
            report.add(checked)
            writer.write(checked.rejects)
            tracker.advance(checked.rows)
    if report.rows != layout.source.rows:
        raise DataError(f"{layout.source.path}: {report.rows} rows read, the files announce {layout.source.rows}")
    return report


def _rejects(
    batch: Batch, bad: npt.NDArray[np.int64], codes: npt.NDArray[np.uint8], raw: tuple[pa.Array, pa.Array, pa.Array]
) -> pa.RecordBatch:
    rows = pa.array(bad)
    shown = pa.array(codes != _FORGOTTEN)  # of those nothing is kept
    return pa.RecordBatch.from_arrays(
        [
            pa.array([REASONS[code] for code in codes], pa.string()),
            pa.repeat(pa.scalar(batch.file), len(bad)),
            pa.array(bad + batch.first_row if batch.numbers is None else batch.numbers[bad]),
            *(pc.if_else(shown, as_shown(column.take(rows)), None) for column in raw),
        ],
        schema=REJECTS_SCHEMA,
    )


def _mark(reason: npt.NDArray[np.uint8], mask: Mask | None, code: int) -> None:
    if mask is not None:
        reason[mask] = code


def _mark_ids(reason: npt.NDArray[np.uint8], ids: Ids, base: int) -> None:
    values = ids.values
    if values.type == pa.large_string():
        length = pc.binary_length(values).fill_null(0).to_numpy(zero_copy_only=False)
        if len(length) and length.max() > MAX_ID_BYTES:
            _mark(reason, length > MAX_ID_BYTES, base + _LONG)
        try:
            values.validate(full=True)
            _mark(reason, pc.utf8_is_space(values).fill_null(False).to_numpy(zero_copy_only=False), base + _EMPTY)
        except pa.ArrowInvalid:
            _mark(reason, _not_utf8(values), base + _NOT_UTF8)
        _mark(reason, length == 0, base + _EMPTY)
    if values.null_count:
        _mark(reason, values.is_null().to_numpy(zero_copy_only=False), base + _EMPTY)
    _mark(reason, ids.not_id, base + _NOT_ID)


def _broken_text(column: pa.Array) -> Mask | None:
    """Which values of a text column are not valid UTF-8; None where all are, or it is no text.

    Arrow itself refuses a file whose dictionaries are broken.
    """
    if pa.types.is_dictionary(column.type) or not is_text(column.type):
        return None
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return _not_utf8(column.cast(pa.large_string()))
    return None


def _not_utf8(values: pa.Array) -> Mask:
    return np.array([_undecodable(value) for value in values.cast(pa.large_binary()).to_pylist()])


def _undecodable(value: bytes | None) -> bool:
    try:
        if value is not None:
            value.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def _kind(path: Path, column: str, source: Source, other: pa.DataType | None) -> IdKind:
    kinds = [(f"{path}: column {column!r}", source.types[column])]
    if other is not None:
        kinds.append((f"id column {column!r} of its own table", other))
    return id_kind(kinds)


def timestamp_unit(source: Source, column: str, wanted: str) -> str:
    """The unit of the timestamps: as the Arrow type says, as wanted, or (auto) told from the first batch with any."""
    kind = source.types[column]
    if pa.types.is_timestamp(kind):
        return str(kind.unit)
    if wanted != "auto":
        return wanted
    if pa.types.is_date(kind):
        return "ms"
    probe = Source(source.path, source.files, {column: kind}, source.rows)
    for batch in probe.batches(1 << 16):
        found = detect_unit(batch.columns[column])
        if found is not None:
            return found
    return "s"
