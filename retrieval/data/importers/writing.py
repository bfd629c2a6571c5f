"""What all importers share: raw batches in, canonical Parquet in the data folder out, every row accounted for."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from retrieval.data.folders import written_folder
from retrieval.data.histories.distinct import ValueCounts
from retrieval.data.importers.actions import name_actions
from retrieval.data.importers.derive import Derived, derive_table
from retrieval.data.importers.request import ColumnMapping, ImportRequest
from retrieval.data.importers.suggest import Suggestion
from retrieval.data.reading.rejects import RejectsWriter
from retrieval.data.reading.schema import IdKind
from retrieval.data.reading.segments import RECORDED
from retrieval.data.reading.sources import Batch, Source
from retrieval.data.reading.validation import Checked, EventLayout, Report, check_batch
from retrieval.errors import ConflictError, DataError
from retrieval.observability import SILENT, Tracker
from retrieval.storage.atomic import staged_file
from retrieval.types import HOUR_US

REJECTS = Path("rejects") / "import.parquet"
"""Refused rows, in the data folder; `data validate` has a file of its own there, or it would wipe these away."""
CANONICAL = ("user_id", "item_id", "timestamp", "action")
_FILE_ROWS = 20_000_000


@dataclass
class Imported:
    """What an import did: `rows` = `written` + `outside` (the time range asked for) + the sum of `rejected`."""

    rows: int = 0
    written: int = 0
    outside: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    rejected_profiles: dict[str, int] = field(default_factory=dict)
    """Rows of the users and items tables that were left out, by reason."""
    actions: dict[str, int] = field(default_factory=dict)
    timestamp_unit: str = ""
    users: int = 0
    items: int = 0
    paths: dict[str, str] = field(default_factory=dict)
    suggestion: Suggestion = field(default_factory=Suggestion)
    recipe: str = ""
    """Whose settings were written down, too, as the log is of its shape; empty for none."""
    why: str = ""


def layout_for(
    request: ImportRequest,
    name: Path,
    types: Mapping[str, pa.DataType],
    mapping: ColumnMapping,
    *,
    kinds: tuple[IdKind, IdKind],
    unit: str,
) -> EventLayout:
    """How raw rows are checked: everything that the mapping needs passes along as context.

    `kinds` are those of the users' and of the items' ids.
    """
    late = int(request.settings.future_hours * HOUR_US)
    return EventLayout(
        source=Source(name, (), dict(types), 0),
        user=mapping.user,
        item=mapping.item,
        timestamp=mapping.timestamp,
        action=mapping.action,
        context=mapping.others(),
        user_kind=kinds[0],
        item_kind=kinds[1],
        unit=unit,
        latest_us=time.time_ns() // 1000 + late,
        forgotten=request.forgotten,
    )


def check_free(out: Path, *, replace: bool) -> None:
    """Refuse to write over data that is there, unless that is wanted. Raises ConflictError."""
    there = [str(out / name) for name in ("events", "users.parquet", "items.parquet") if (out / name).exists()]
    if there and not replace:
        raise ConflictError(f"{', '.join(there)}: there already; --replace puts the new data in their place")
    recorded = out / "events" / RECORDED
    if recorded.is_dir() and any(recorded.glob("*.parquet")):
        raise ConflictError(
            f"{recorded}: holds recorded events, whose place the new data would take; move the folder elsewhere, and "
            "back once the data is there, or remove it"
        )


class EventWriter:
    """Checks raw batches and writes what is usable, refused and derived."""

    def __init__(self, layout: EventLayout, mapping: ColumnMapping, out: Path) -> None:
        clash = sorted(set(mapping.context) & set(CANONICAL) - {mapping.action})
        if clash:
            raise DataError(f"context column {clash[0]!r}: has the name of one of the columns that every log has")
        self.result = Imported(timestamp_unit=layout.unit)
        self._layout, self._mapping, self._out = layout, mapping, out
        self._report = Report(unit=layout.unit)
        types = layout.source.types
        self._items = {name: Derived(name, types[name]) for name in mapping.item_features}
        self._users = {name: Derived(name, types[name]) for name in mapping.user_features}
        self._user_ids = ValueCounts(pa.int64() if layout.user_kind == "int" else pa.large_string())
        self._item_ids = ValueCounts(pa.int64() if layout.item_kind == "int" else pa.large_string())
        self._actions = ValueCounts(pa.large_string())

    def write(self, batches: Iterable[Batch], rejects: RejectsWriter, tracker: Tracker = SILENT) -> None:
        """Stream all batches into events/, which appears when it is complete."""
        with written_folder(self._out / "events", existing="replace") as folder:
            writer: pq.ParquetWriter | None = None
            files = in_file = 0
            for batch in batches:
                checked = check_batch(self._layout, batch)
                self._report.add(checked)
                rejects.write(checked.rejects)
                table = self._convert(checked)
                if writer is None or in_file >= _FILE_ROWS:
                    if writer is not None:
                        writer.close()
                    writer = pq.ParquetWriter(folder / f"part-{files:05d}.parquet", table.schema, compression="zstd")
                    files, in_file = files + 1, 0
                writer.write_table(table.cast(writer.schema))
                in_file += table.num_rows
                tracker.advance(batch.rows)
            if writer is not None:
                writer.close()
            self._finish()

    def refuse(self, rows: pa.RecordBatch, rejects: RejectsWriter) -> None:
        """Put aside rows that an importer refused by itself, before they got here."""
        self._report.rows += rows.num_rows
        self._report.refuse(rows)
        rejects.write(rows)

    def _finish(self) -> None:
        result = self.result
        result.rows, result.rejected = self._report.rows, dict(self._report.rejected)
        assert result.rows == result.written + result.outside + sum(result.rejected.values()), "no row vanishes"
        if result.written == 0:
            reasons = ", ".join(f"{count:,} × {reason}" for reason, count in sorted(result.rejected.items()))
            raise DataError(
                f"{self._layout.source.path}: none of its {result.rows:,} rows can be imported "
                f"({reasons or 'no flaws'}; {result.outside:,} outside the time range)"
            )
        names, counts = self._actions.result()
        result.actions = dict(zip(names.to_pylist(), counts.tolist(), strict=True))

    def derived(self, side: str) -> pa.Table | None:
        """The table of features derived for users or items, None where none was asked for."""
        found, counter = (self._users, self._user_ids) if side == "users" else (self._items, self._item_ids)
        ids, _ = counter.result()
        if side == "users":
            self.result.users = len(ids)
        else:
            self.result.items = len(ids)
        return derive_table("user_id" if side == "users" else "item_id", ids, found) if found else None

    def _convert(self, checked: Checked) -> pa.Table:
        mapping = self._mapping
        low = -(2**63) if mapping.from_us is None else mapping.from_us
        high = 2**63 - 1 if mapping.until_us is None else mapping.until_us
        inside = (checked.micros >= low) & (checked.micros < high)
        columns: dict[str, pa.Array] = {
            "user_id": checked.users,
            "item_id": checked.items,
            "timestamp": pa.array(checked.micros, pa.timestamp("us", "UTC")),
        }
        if mapping.action or mapping.action_rules or mapping.default_action:
            otherwise = checked.action if checked.action is not None else (mapping.default_action or "event")
            try:
                columns["action"] = name_actions(mapping.action_rules, checked.context, otherwise, len(inside))
            except DataError as error:
                raise DataError(f"{self._layout.source.path}: {error}") from error
        raw = {name: checked.context[name] for name in mapping.others()}
        if not inside.all():
            keep = pa.array(inside)
            columns = {name: column.filter(keep) for name, column in columns.items()}
            raw = {name: column.filter(keep) for name, column in raw.items()}
        self.result.outside += int((~inside).sum())
        self.result.written += int(inside.sum())
        self._user_ids.add(columns["user_id"])
        self._item_ids.add(columns["item_id"])
        if "action" in columns:
            self._actions.add(columns["action"])
        for name, derived in self._users.items():
            derived.add(columns["user_id"], raw[name])
        for name, derived in self._items.items():
            derived.add(columns["item_id"], raw[name])
        return pa.table({**columns, **{name: raw[name] for name in mapping.context}})


def write_table(out: Path, name: str, table: pa.Table, id_column: str) -> Path:
    """Write a users or items table under its canonical name, its id column first and called as everywhere."""
    canonical = "user_id" if name == "users" else "item_id"
    ids = table.column(id_column)
    rest = [column for column in table.column_names if column not in {id_column, canonical}]
    path = out / f"{name}.parquet"
    with staged_file(path) as staged:
        pq.write_table(pa.table({canonical: ids, **{column: table.column(column) for column in rest}}), staged)
    return path
