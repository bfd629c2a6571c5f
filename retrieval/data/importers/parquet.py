"""`retrieval data import parquet`: any Parquet events by a column mapping, and tables of users and items."""

from __future__ import annotations

from dataclasses import replace

from retrieval.data.importers.request import ColumnMapping, ImportRequest
from retrieval.data.importers.sides import common_kind, open_sides, read_ids_as
from retrieval.data.importers.stream import EventStream, write_stream
from retrieval.data.importers.writing import Imported
from retrieval.data.reading.profiles import Profiles
from retrieval.data.reading.schema import IdKind
from retrieval.data.reading.sources import Source, open_source
from retrieval.data.reading.validation import DEFAULT_ACTION_COLUMN, batch_rows, timestamp_unit
from retrieval.errors import DataError


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
    user_kind = common_kind(source.path, mapping.user, source.types[mapping.user], users)
    item_kind = common_kind(source.path, mapping.item, source.types[mapping.item], items)
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
    stream = EventStream(
        source.path,
        source.types,
        timestamp_unit(source, mapping.timestamp, mapping.timestamp_unit),
        lambda _: source.batches(batch_rows(request.settings.memory_limit_mb)),
        source.rows,
    )
    return write_stream(request, stream, mapping, kinds, profiles)
