"""`retrieval data import parquet`: any Parquet events by a column mapping, and tables of users and items."""

from __future__ import annotations

from dataclasses import replace

from retrieval.data.importers.finishing import finish
from retrieval.data.importers.request import ColumnMapping, ImportRequest
from retrieval.data.importers.sides import SideTable, open_sides, read_ids_as
from retrieval.data.importers.writing import REJECTS, EventWriter, Imported, check_free, layout_for
from retrieval.data.reading.profiles import Profiles
from retrieval.data.reading.rejects import RejectsWriter
from retrieval.data.reading.schema import IdKind, id_kind
from retrieval.data.reading.sources import Source, open_source
from retrieval.data.reading.validation import DEFAULT_ACTION_COLUMN, batch_rows, timestamp_unit
from retrieval.errors import DataError
from retrieval.observability import track


def import_parquet(request: ImportRequest) -> Imported:
    """Read Parquet events (a file or a folder). Raises DataError, ConfigError, ConflictError."""
    mapping = request.mapping
    wanted = [mapping.user, mapping.item, mapping.timestamp, *mapping.others()]
    wanted += [mapping.action] if mapping.action else []
    guesses = not (mapping.action or mapping.action_rules or mapping.default_action)
    source = open_source(request.source, "events", required=wanted, optional=[DEFAULT_ACTION_COLUMN] if guesses else [])
    if source.rows == 0:
        raise DataError(f"{request.source}: holds 0 events; expected at least one row")
    if guesses and DEFAULT_ACTION_COLUMN in source.types:
        mapping = replace(mapping, action=DEFAULT_ACTION_COLUMN)
    users, items = open_sides(request)
    user_kind = _kind(source, mapping.user, users)
    item_kind = _kind(source, mapping.item, items)
    profiles = read_ids_as(users, user_kind), read_ids_as(items, item_kind)
    return write_events(request, source, mapping, (user_kind, item_kind), profiles)


def write_events(
    request: ImportRequest,
    source: Source,
    mapping: ColumnMapping,
    kinds: tuple[IdKind, IdKind],
    profiles: tuple[Profiles | None, Profiles | None],
) -> Imported:
    """Stream a Parquet source through the mapping, then write its tables."""
    check_free(request.out, replace=request.replace)
    unit = timestamp_unit(source, mapping.timestamp, mapping.timestamp_unit)
    layout = layout_for(request, source, mapping, kinds=kinds, unit=unit)
    writer = EventWriter(layout, mapping, request.out)
    with (
        track("Importing", source.rows, unit="rows", show=request.show) as tracker,
        RejectsWriter(request.out / REJECTS) as rejects,
    ):
        writer.write(source.batches(batch_rows(request.settings.memory_limit_mb)), rejects, tracker)
    return finish(request, writer, *profiles)


def _kind(source: Source, column: str, side: SideTable | None) -> IdKind:
    """How the ids of one side are kept, in the events and in its own table alike."""
    kinds = [(f"{source.path}: column {column!r}", source.types[column])]
    if side is not None:
        kinds.append((f"{side.path}: column {side.id_column!r}", side.id_type))
    return id_kind(kinds)
