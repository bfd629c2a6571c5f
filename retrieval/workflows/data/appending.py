"""Adding newer events to the data of a workspace: a log that grows while it is served."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from retrieval.data.importers import ArrowStream, ColumnMapping, Imported
from retrieval.data.importers.writing import REJECTS
from retrieval.data.reading.profiles import check_profiles
from retrieval.data.reading.schema import id_kind
from retrieval.data.reading.sources import list_files
from retrieval.errors import ConfigError, ConflictError, DataError
from retrieval.storage.atomic import staged_file, staged_name
from retrieval.storage.locks import locked
from retrieval.workflows.data.importing import read_events
from retrieval.workflows.workspace.workspace import Workspace

APPENDED = "part-appended-"
"""How the folders of appended events begin: after the files of the import, so that they are read later."""

APPEND_LOCK = ".append.lock"
"""In the data folder: held by whoever changes files of the data."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What was added: events, users and items that were not known yet, and where the events are.

    `rows` that were read = `events` + `outside` (the time range asked for) + the sum of `rejected`, by reason.
    """

    rows: int
    events: int
    outside: int
    rejected: dict[str, int]
    new_users: int
    new_items: int
    folder: str


def append_events(
    workspace: Workspace,
    events: Path | ArrowStream,
    *,
    kind: str | None = None,
    mapping: ColumnMapping | None = None,
    users: Path | ArrowStream | None = None,
    items: Path | ArrowStream | None = None,
    delimiter: str = ",",
    encoding: str = "utf-8",
    show: bool = True,
) -> Appended:
    """Read events as `import_events` does, and add them to those that are there.

    They appear as a whole, after the rows of users and items that came with them. Of a user or item that is there
    already the given row counts; of features derived from events the first. Refused rows go to
    data/rejects/append.parquet. Raises ConfigError, DataError (nothing is added then), and ConflictError where just
    these events are there, or others are being added.
    """
    settings = workspace.settings.data
    there = workspace.root / settings.events
    if not there.is_dir():
        raise ConfigError(
            f"data.events is {settings.events!r}: events can be added to a folder of files; import a log first"
        )
    with locked(there.parent / APPEND_LOCK, f"events are being added to {there}"):
        staging = there.parent / staged_name()
        try:
            done = read_events(
                workspace,
                events,
                staging,
                kind=kind,
                mapping=mapping or ColumnMapping(),
                users=users,
                items=items,
                delimiter=delimiter,
                encoding=encoding,
                show=show,
            )
            return _added(workspace, done, staging, there, derived=(users is None, items is None))
        finally:
            _keep_rejects(staging, there.parent)
            shutil.rmtree(staging, ignore_errors=True)


def _added(workspace: Workspace, done: Imported, staging: Path, there: Path, *, derived: tuple[bool, bool]) -> Appended:
    settings = workspace.settings.data
    new = staging / "events"
    _check_columns(workspace, new, there)
    digest = _digest(new)
    before = sorted(path.name for path in there.glob(f"{APPENDED}*"))
    if any(name.endswith(digest) for name in before):
        raise ConflictError(f"{there}: just these events were added before; nothing was done")
    tables = [("users", settings.users, settings.user_column), ("items", settings.items, settings.item_column)]
    added = [
        _merge_table(workspace.root / place if place else None, staging / f"{what}.parquet", what, column, derived=keep)
        for (what, place, column), keep in zip(tables, derived, strict=True)
    ]
    number = 1 + max((int(name.removeprefix(APPENDED).partition("-")[0]) for name in before), default=0)
    target = there / f"{APPENDED}{number:08d}-{digest}"
    new.rename(target)
    return Appended(
        rows=done.rows,
        events=done.written,
        outside=done.outside,
        rejected=done.rejected,
        new_users=added[0],
        new_items=added[1],
        folder=str(target),
    )


def _check_columns(workspace: Workspace, new: Path, there: Path) -> None:
    """What is read of the events that are there must be in the new ones, and of the same type."""
    settings = workspace.settings.data
    first = list_files(there, "events")[0]
    have, more = pq.read_schema(first), pq.read_schema(list_files(new, "events")[0])
    action = settings.action_column if settings.action_column is not None else "action"
    wanted = [settings.user_column, settings.item_column, settings.timestamp_column, action, *settings.context_columns]
    ids = {settings.user_column, settings.item_column}
    for name in wanted:
        if name not in have.names:
            continue
        if name not in more.names:
            raise DataError(
                f"the events to be added have no column {name!r}, those in {there} have; "
                "give the options that they were imported with"
            )
        one, other = have.field(name).type, more.field(name).type
        if name not in ids and one != other:
            raise DataError(f"column {name!r} is {other} in the events to be added, {one} in {first}")


def _digest(folder: Path) -> str:
    digest = blake2b(digest_size=8)
    for path in list_files(folder, "events"):
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def _merge_table(path: Path | None, new: Path, what: str, id_column: str, *, derived: bool) -> int:
    """Add the rows of a users or items table to the one at `path`; returns how many ids are new."""
    if not new.is_file():
        return 0
    if path is None:
        raise ConfigError(f"{what} were given, but data.{what} names no table to add them to")
    if not path.is_file():
        raise ConfigError(f"{path}: {what} can be added to a file, and this is none")
    old, more = pq.read_table(path), pq.read_table(new)
    more = more.rename_columns([id_column if name == _canonical(what) else name for name in more.column_names])
    kind = id_kind([(str(path), old.schema.field(id_column).type), (str(new), more.schema.field(id_column).type)])
    if kind == "text":
        old, more = (_with_text_ids(one, id_column) for one in (old, more))
    both = [more, old] if derived else [old, more]  # the last row of an id counts
    try:
        merged = pa.concat_tables(both, promote_options="permissive").select(
            [*old.column_names, *(name for name in more.column_names if name not in old.column_names)]
        )
    except pa.ArrowException as error:
        raise DataError(f"{what}: the rows to be added have columns of other types than {path}: {error}") from error
    kept = check_profiles(merged, path, what, id_column, kind)
    with staged_file(path) as staged:
        pq.write_table(kept.table.set_column(kept.table.column_names.index(id_column), id_column, kept.ids), staged)
    return int(kept.table.num_rows - old.num_rows)


def _canonical(what: str) -> str:
    return "user_id" if what == "users" else "item_id"


def _with_text_ids(rows: pa.Table, column: str) -> pa.Table:
    return rows.set_column(rows.column_names.index(column), column, rows[column].cast(pa.large_string()))


def _keep_rejects(staging: Path, data: Path) -> None:
    refused = staging / REJECTS
    if refused.is_file():
        target = data / REJECTS.with_name("append.parquet")
        target.parent.mkdir(exist_ok=True)
        refused.replace(target)
