"""Users and items tables that come along with the events, as Parquet or as delimited text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv

from retrieval.data.importers.request import ImportRequest
from retrieval.data.reading.arrow_streams import ArrowStream, arrow_table
from retrieval.data.reading.profiles import Profiles, check_profiles
from retrieval.data.reading.schema import IdKind, id_kind
from retrieval.data.reading.sources import read_table
from retrieval.errors import ConfigError, DataError

_TEXT_SUFFIXES = {".csv": ",", ".tsv": "\t"}
_USUAL = {"users": "user_id", "items": "item_id"}


@dataclass(frozen=True)
class SideTable:
    """A users or items table and the column with its ids."""

    path: Path
    what: str
    id_column: str
    table: pa.Table

    @property
    def id_type(self) -> pa.DataType:
        """Type of the id column."""
        return self.table.schema.field(self.id_column).type


def open_sides(request: ImportRequest) -> tuple[SideTable | None, SideTable | None]:
    """The users and items tables that were given. Raises ConfigError where features are to be derived as well."""
    mapping = request.mapping
    for side, given, derived in (
        ("user", request.users, mapping.user_features),
        ("item", request.items, mapping.item_features),
    ):
        if given is not None and derived:
            raise ConfigError(f"--{side}-feature and --{side}s: features come from one of them, not from both")
    return open_side(request.users, "users", mapping.user), open_side(request.items, "items", mapping.item)


def open_side(given: Path | ArrowStream | None, what: str, events_column: str) -> SideTable | None:
    """Open a users or items table; its id column is called as in the events, or user_id/item_id. None for no table."""
    if given is None:
        return None
    if not isinstance(given, Path):
        return _side_table(arrow_table(given, what), Path(what), what, events_column)
    path = given
    table = _read_text(path) if path.suffix in _TEXT_SUFFIXES else read_table(path, what, required=[])
    return _side_table(table, path, what, events_column)


def _side_table(table: pa.Table, path: Path, what: str, events_column: str) -> SideTable:
    for name in (events_column, _USUAL[what]):
        if name in table.column_names:
            return SideTable(path, what, name, table)
    raise DataError(
        f"{path}: no column {events_column!r} or {_USUAL[what]!r} with the ids of the {what}; "
        f"its columns are: {', '.join(table.column_names)}"
    )


def common_kind(path: Path, column: str, kind: pa.DataType, side: SideTable | None) -> IdKind:
    """How the ids of one side are kept, in the events (`path`, a column of type `kind`) and in its own table alike."""
    kinds = [(f"{path}: column {column!r}", kind)]
    if side is not None:
        kinds.append((f"{side.path}: column {side.id_column!r}", side.id_type))
    return id_kind(kinds)


def read_ids_as(side: SideTable | None, kind: IdKind) -> Profiles | None:
    """The usable rows of a table, ids in the given kind; None for no table."""
    return None if side is None else check_profiles(side.table, side.path, side.what, side.id_column, kind)


def _read_text(path: Path) -> pa.Table:
    parse = pacsv.ParseOptions(delimiter=_TEXT_SUFFIXES[path.suffix], newlines_in_values=True)
    try:
        return pacsv.read_csv(path, parse_options=parse)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: can't be read as delimited text: {error}") from error
