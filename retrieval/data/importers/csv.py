"""`retrieval data import csv`: events in any delimited text file with a header, by a column mapping.

Ids stay text. A context or feature column whose first values are all numbers is one of numbers; a row of it that holds
something else is refused. Rows with too few or too many fields are refused too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from retrieval.data.importers.request import ColumnMapping, ImportRequest
from retrieval.data.importers.sides import open_sides, read_ids_as
from retrieval.data.importers.stream import EventStream, Refuse, write_stream
from retrieval.data.importers.writing import Imported
from retrieval.data.reading.profiles import Profiles
from retrieval.data.reading.rejects import REJECTS_SCHEMA
from retrieval.data.reading.schema import IdKind, detect_unit
from retrieval.data.reading.sources import Batch
from retrieval.data.reading.validation import DEFAULT_ACTION_COLUMN
from retrieval.errors import DataError

_BLOCK_BYTES = 8 << 20
_NUMBER = r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*$"


@dataclass
class TextFile:
    """A delimited file as a stream of batches of text columns; malformed lines are put aside, never skipped."""

    path: Path
    delimiter: str = ","
    encoding: str = "utf-8"
    names: tuple[str, ...] = ()
    """Names of the columns, for a file without a header."""
    malformed: list[str] = field(default_factory=list)

    def header(self) -> list[str]:
        """The columns' names. Raises DataError for a file that can't be read or is empty."""
        return list(self.names) or [str(name) for name in self._open(None).schema.names]

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        """Stream the given columns as text, empty fields as null."""
        first = 0
        reader = self._open(columns)
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except (pa.ArrowException, OSError) as error:
                raise self._unreadable(error) from error
            yield Batch(self.path.name, first, {name: batch.column(name) for name in columns}, batch.num_rows)
            first += batch.num_rows

    def _open(self, columns: Sequence[str] | None) -> pacsv.CSVStreamingReader:
        def put_aside(row: pacsv.InvalidRow) -> str:
            if columns is not None:
                self.malformed.append(f"{row.actual_columns} fields, expected {row.expected_columns}: {row.text}")
            return "skip"

        try:
            return pacsv.open_csv(
                self.path,
                read_options=pacsv.ReadOptions(
                    block_size=_BLOCK_BYTES,
                    encoding=self.encoding,
                    column_names=list(self.names) or None,
                ),
                parse_options=pacsv.ParseOptions(
                    delimiter=self.delimiter, invalid_row_handler=put_aside, newlines_in_values=True
                ),
                convert_options=pacsv.ConvertOptions(
                    include_columns=list(columns or ()),
                    column_types=dict.fromkeys(columns or (), pa.string()),
                    strings_can_be_null=True,
                    null_values=[""],
                ),
            )
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> DataError:
        if self.path.exists() and self.path.stat().st_size == 0:
            return DataError(f"{self.path}: the file is empty")
        hint = f" (read as {self.encoding}; is it another encoding?)" if "utf" in str(error).lower() else ""
        return DataError(f"{self.path}: can't be read as delimited text: {error}{hint}")


def import_csv(request: ImportRequest) -> Imported:
    """Read events from a delimited text file with a header. Raises DataError, ConfigError, ConflictError."""
    mapping = request.mapping
    file = TextFile(request.source, request.delimiter, request.encoding)
    header = file.header()
    if not (mapping.action or mapping.action_rules or mapping.default_action) and DEFAULT_ACTION_COLUMN in header:
        mapping = replace(mapping, action=DEFAULT_ACTION_COLUMN)
    users, items = open_sides(request)
    profiles = read_ids_as(users, "text"), read_ids_as(items, "text")
    return write_text(request, file, mapping, ("text", "text"), profiles)


def write_text(
    request: ImportRequest,
    file: TextFile,
    mapping: ColumnMapping,
    kinds: tuple[IdKind, IdKind],
    profiles: tuple[Profiles | None, Profiles | None],
) -> Imported:
    """Stream a delimited file through the mapping, then write its tables."""
    header = file.header()
    named = [mapping.user, mapping.item, mapping.timestamp, *mapping.others(), mapping.action]
    wanted = list(dict.fromkeys(name for name in named if name))
    for name in wanted:
        if name not in header:
            raise DataError(f"{file.path}: no column {name!r} (events); its columns are: {', '.join(header)}")
    first = next(file.batches(wanted), None)
    file.malformed.clear()
    if first is None or first.rows == 0:
        raise DataError(f"{file.path}: holds 0 events; expected at least one row")
    numbers = [name for name in mapping.others() if _is_numeric(first.columns[name])]
    types = {name: pa.float64() if name in numbers else pa.string() for name in wanted}
    unit = mapping.timestamp_unit
    if unit == "auto":
        unit = detect_unit(first.columns[mapping.timestamp]) or "s"
    stream = EventStream(file.path, types, unit, lambda refuse: _with_numbers(file, wanted, numbers, refuse))
    return write_stream(request, stream, mapping, kinds, profiles)


def _with_numbers(file: TextFile, wanted: Sequence[str], numbers: Sequence[str], refuse: Refuse) -> Iterator[Batch]:
    """The file's batches with numeric columns converted; what can't be is refused here, and so are malformed lines."""
    for batch in file.batches(wanted):
        columns = dict(batch.columns)
        wrong_in = np.full(batch.rows, -1)
        for position, name in enumerate(numbers):
            right = pc.match_substring_regex(columns[name], _NUMBER)
            wrong_in[pc.invert(right).fill_null(False).to_numpy(zero_copy_only=False)] = position
            columns[name] = pc.utf8_trim_whitespace(pc.if_else(right, columns[name], None)).cast(pa.float64())
        bad = np.flatnonzero(wrong_in >= 0)
        if not len(bad):
            yield Batch(batch.file, batch.first_row, columns, batch.rows)
            continue
        reasons = [f"{numbers[position]} is not a number" for position in wrong_in[bad]]
        refuse(_refused(file, reasons, bad + batch.first_row))
        good = np.flatnonzero(wrong_in < 0)
        columns = {name: column.take(pa.array(good)) for name, column in columns.items()}
        yield Batch(batch.file, batch.first_row, columns, len(good), good + batch.first_row)
    if file.malformed:
        reasons = [f"line has {line}"[:1024] for line in file.malformed]
        refuse(_refused(file, reasons, np.full(len(reasons), -1)))


def _refused(file: TextFile, reasons: Sequence[str], rows: npt.NDArray[np.int64]) -> pa.RecordBatch:
    nothing = pa.nulls(len(rows), pa.string())
    columns = [pa.array(reasons), pa.array([file.path.name] * len(rows)), pa.array(rows), nothing, nothing, nothing]
    return pa.RecordBatch.from_arrays(columns, schema=REJECTS_SCHEMA)


def _is_numeric(column: pa.Array) -> bool:
    given = column.drop_null()
    return len(given) > 0 and bool(pc.all(pc.match_substring_regex(given, _NUMBER)).as_py())
