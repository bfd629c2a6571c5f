"""Events that lie in memory or come from elsewhere as Arrow: tables, data frames, relations, readers of record batches.

Whatever speaks the Arrow C stream protocol is read batch by batch, once, without a copy of the whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from retrieval.data.importers.request import ImportRequest
from retrieval.data.importers.sides import common_kind, open_sides, read_ids_as
from retrieval.data.importers.stream import EventStream, write_stream
from retrieval.data.importers.writing import Imported
from retrieval.data.reading.arrow_streams import ArrowStream, arrow_reader
from retrieval.data.reading.schema import detect_unit
from retrieval.data.reading.sources import Batch, without_views
from retrieval.data.reading.validation import DEFAULT_ACTION_COLUMN, batch_rows
from retrieval.errors import DataError


def import_arrow(request: ImportRequest, events: ArrowStream) -> Imported:
    """Read events from an Arrow stream; messages call it `request.source`.

    Raises DataError, ConfigError, ConflictError.
    """
    # before the events' stream is opened: a database's connection may give one result at a time
    sides = open_sides(request)
    reader = arrow_reader(events, request.source)
    mapping = request.mapping
    names = reader.schema.names
    if not (mapping.action or mapping.action_rules or mapping.default_action) and DEFAULT_ACTION_COLUMN in names:
        mapping = replace(mapping, action=DEFAULT_ACTION_COLUMN)
    named = [mapping.user, mapping.item, mapping.timestamp, *mapping.others(), mapping.action]
    wanted = list(dict.fromkeys(name for name in named if name))
    for name in wanted:
        if name not in names:
            raise DataError(f"{request.source}: no column {name!r} (events); its columns are: {', '.join(names)}")
    batches = _batches(reader, request.source, wanted, batch_rows(request.settings.memory_limit_mb))
    first = next(batches, None)
    if first is None:
        raise DataError(f"{request.source}: holds 0 events; expected at least one row")
    types = {name: column.type for name, column in first.columns.items()}
    kinds = (
        common_kind(request.source, mapping.user, types[mapping.user], sides[0]),
        common_kind(request.source, mapping.item, types[mapping.item], sides[1]),
    )
    unit = _unit(first.columns[mapping.timestamp], mapping.timestamp_unit)
    stream = EventStream(request.source, types, unit, lambda _: itertools.chain([first], batches))
    profiles = read_ids_as(sides[0], kinds[0]), read_ids_as(sides[1], kinds[1])
    return write_stream(request, stream, mapping, kinds, profiles)


def _batches(reader: pa.RecordBatchReader, name: Path, wanted: Sequence[str], rows: int) -> Iterator[Batch]:
    """The stream in batches of at most `rows` rows; empty ones are passed over."""
    first = 0
    while True:
        try:
            whole = reader.read_next_batch()
        except StopIteration:
            return
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{name}: the stream broke off after row {first}: {error}") from error
        for start in range(0, whole.num_rows, rows):
            part = whole.slice(start, rows)
            columns = {column: without_views(part.column(column)) for column in wanted}
            yield Batch(name.as_posix(), first, columns, part.num_rows)
            first += part.num_rows


def _unit(timestamps: pa.Array, wanted: str) -> str:
    """As the Arrow type says, as wanted, or told from the magnitude of the first numbers."""
    if pa.types.is_timestamp(timestamps.type):
        return str(timestamps.type.unit)
    if wanted != "auto":
        return wanted
    return "ms" if pa.types.is_date(timestamps.type) else detect_unit(timestamps) or "s"
