"""`retrieval data import movielens`: the layouts of ml-100k (u.data), ml-1m and ml-10m (.dat), ml-20m and later (.csv).

A folder with events.parquet, items.parquet and users.parquet of the same columns is read as well. Titles of the older
layouts are in Latin-1. The year is taken from the title, "Toy Story (1995)"; genres become a list.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from retrieval.data.importers.csv import TextFile, write_text
from retrieval.data.importers.parquet import write_events
from retrieval.data.importers.request import ColumnMapping, ImportRequest
from retrieval.data.importers.writing import Imported
from retrieval.data.reading.profiles import Profiles, check_profiles
from retrieval.data.reading.sources import open_source, read_table
from retrieval.errors import DataError

_NO_GENRES = "(no genres listed)"
_YEAR = re.compile(r"\((\d{4})\)\s*$")
_COLUMNS = ("user_id", "item_id", "rating", "timestamp")


@dataclass(frozen=True)
class _Layout:
    """One of the layouts in which MovieLens was published."""

    ratings: str
    delimiter: str
    names: tuple[str, ...]
    columns: tuple[str, str, str, str]
    """What the file calls user, item, rating and timestamp."""
    items: Callable[[Path], pa.Table]
    users: Callable[[Path], pa.Table] | None


def import_movielens(request: ImportRequest) -> Imported:
    """Read one of MovieLens' folders. Raises DataError for a folder of another layout, ConflictError."""
    folder = request.source
    layout = next((one for one in _LAYOUTS if (folder / one.ratings).is_file()), None)
    if layout is not None:
        file = TextFile(folder / layout.ratings, layout.delimiter, names=layout.names)
        user, item, _, timestamp = layout.columns
        mapping = _mapping(request, user, item, timestamp)
        profiles = (
            check_profiles(layout.users(folder), folder, "users", "user_id", "int") if layout.users else None,
            check_profiles(layout.items(folder), folder, "items", "item_id", "int"),
        )
        return write_text(request, file, mapping, ("int", "int"), profiles)
    if (folder / "events.parquet").is_file():
        return _import_parquet(request)
    expected = ", ".join([*(one.ratings for one in _LAYOUTS), "events.parquet"])
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:12]) if folder.is_dir() else "no such folder"
    raise DataError(f"{folder}: no MovieLens data; expected a folder with one of: {expected}; found: {found}")


def _import_parquet(request: ImportRequest) -> Imported:
    folder = request.source
    mapping = _mapping(request, "user_id", "item_id", "timestamp")
    source = open_source(
        folder / "events.parquet", "events", required=[mapping.user, mapping.item, mapping.timestamp, *mapping.others()]
    )
    tables: list[Profiles | None] = []
    for what, id_column in (("users", "user_id"), ("items", "item_id")):
        path = folder / f"{what}.parquet"
        table = read_table(path, what, required=[id_column]) if path.exists() else None
        if table is not None and "title" in table.column_names and "year" not in table.column_names:
            table = table.append_column("year", _years(table.column("title").to_pylist()))
        tables.append(check_profiles(table, path, what, id_column, "int") if table is not None else None)
    return write_events(request, source, mapping, ("int", "int"), (tables[0], tables[1]))


def _mapping(request: ImportRequest, user: str, item: str, timestamp: str) -> ColumnMapping:
    return replace(request.mapping, user=user, item=item, timestamp=timestamp, timestamp_unit="s")


def _years(titles: Sequence[str | None]) -> pa.Array:
    found = [_YEAR.search(title or "") for title in titles]
    return pa.array([int(match.group(1)) if match else None for match in found], pa.int32())


def _genres(text: str) -> list[str]:
    return [genre for genre in text.split("|") if genre and genre != _NO_GENRES]


def _items_table(rows: Sequence[tuple[str, str, list[str]]]) -> pa.Table:
    titles = [title for _, title, _ in rows]
    return pa.table(
        {
            "item_id": pa.array([int(one) for one, _, _ in rows], pa.int64()),
            "title": titles,
            "genres": pa.array([genres for _, _, genres in rows], pa.list_(pa.string())),
            "year": _years(titles),
        }
    )


def _lines(path: Path, separator: str, fields: int) -> Iterator[list[str]]:
    """Fields of every line of an older file, in Latin-1. Raises DataError naming the line."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; it belongs to the ratings beside it")
    for number, line in enumerate(path.read_text(encoding="latin-1").splitlines(), start=1):
        if not line.strip():
            continue
        parts = line.split(separator)
        if len(parts) != fields or not parts[0].strip().isdigit():
            raise DataError(f"{path}:{number}: expected {fields} fields, an id first, found: {line[:80]!r}")
        yield parts


def _items_100k(folder: Path) -> pa.Table:
    names = [line.partition("|")[0] for line in _genre_lines(folder / "u.genre")]
    rows = []
    for parts in _lines(folder / "u.item", "|", 5 + len(names)):
        genres = [name for name, flag in zip(names, parts[5:], strict=True) if flag.strip() == "1"]
        rows.append((parts[0], parts[1], [genre for genre in genres if genre != "unknown"]))
    return _items_table(rows)


def _genre_lines(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; it belongs to the ratings beside it")
    return [line for line in path.read_text(encoding="latin-1").splitlines() if "|" in line]


def _users_100k(folder: Path) -> pa.Table:
    rows = list(_lines(folder / "u.user", "|", 5))
    return _users_table(rows, order=(1, 2, 3, 4))


def _users_1m(folder: Path) -> pa.Table:
    path = folder / "users.dat"
    rows = list(_lines(path, "::", 5)) if path.exists() else []  # ml-10m has none
    return _users_table(rows, order=(2, 1, 3, 4))


def _users_table(rows: Sequence[list[str]], order: tuple[int, int, int, int]) -> pa.Table:
    """Age is a number of years in ml-100k and the lower end of a band in ml-1m."""
    age, gender, occupation, zip_code = order
    return pa.table(
        {
            "user_id": pa.array([int(row[0]) for row in rows], pa.int64()),
            "age": pa.array([int(row[age]) for row in rows], pa.int32()),
            "gender": pa.array([row[gender] for row in rows], pa.string()),
            "occupation": pa.array([row[occupation] for row in rows], pa.string()),
            "zip": pa.array([row[zip_code] for row in rows], pa.string()),
        }
    )


def _items_1m(folder: Path) -> pa.Table:
    return _items_table([(one, title, _genres(text)) for one, title, text in _lines(folder / "movies.dat", "::", 3)])


def _items_csv(folder: Path) -> pa.Table:
    path = folder / "movies.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(row["movieId"], row["title"], _genres(row["genres"])) for row in csv.DictReader(file)]
        return _items_table(rows)
    except (OSError, UnicodeDecodeError, KeyError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: expected movieId,title,genres in UTF-8: {error}") from error


_LAYOUTS = (
    _Layout("u.data", "\t", _COLUMNS, _COLUMNS, _items_100k, _users_100k),
    _Layout(
        "ratings.dat",
        ":",  # the separator is two characters; between them lies an empty column
        ("user_id", "_1", "item_id", "_2", "rating", "_3", "timestamp"),
        _COLUMNS,
        _items_1m,
        _users_1m,
    ),
    _Layout("ratings.csv", ",", (), ("userId", "movieId", "rating", "timestamp"), _items_csv, None),
)
