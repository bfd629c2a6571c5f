"""Reading a log into a workspace, from files of any layout or from Arrow streams."""

from __future__ import annotations

from pathlib import Path

from retrieval.data.importers import IMPORTERS, ArrowStream, ColumnMapping, Imported, ImportRequest, import_arrow
from retrieval.data.reading.forgotten import load_forgotten
from retrieval.errors import ConfigError
from retrieval.workflows.workspace.fitting import LEAST_EVENTS
from retrieval.workflows.workspace.suggested import apply_fitting_recipe, apply_suggestion
from retrieval.workflows.workspace.workspace import Workspace

DATA = "data"
"""Folder of a workspace in which imported events, users and items are."""
_TEXT_SUFFIXES = frozenset({".csv", ".tsv", ".txt"})


def import_events(
    workspace: Workspace,
    events: Path | ArrowStream,
    *,
    kind: str | None = None,
    mapping: ColumnMapping | None = None,
    users: Path | ArrowStream | None = None,
    items: Path | ArrowStream | None = None,
    delimiter: str = ",",
    encoding: str = "utf-8",
    replace: bool = False,
    write_settings: bool = False,
    keep_features: bool = False,
    show: bool = True,
) -> Imported:
    """Read events (a file or folder, or a table of any library), users and items into the workspace's data folder.

    `kind` names an importer for files (movielens, csv, parquet); not given, the file's suffix decides. Refused rows go
    to data/rejects/import.parquet, with reason, file and row. With `replace`, the new data takes the place of what is
    there. With `write_settings`, the settings that fit go into retrieval.toml (`workspace.reopen()` reads them): those
    of [data], and features of the columns, unless `keep_features`; and where nothing says yet how to learn, those of
    the recipe that fits the log.

    Raises ConfigError, DataError, and ConflictError where data is there.
    """
    done = read_events(
        workspace,
        events,
        workspace.root / DATA,
        kind=kind,
        mapping=mapping or ColumnMapping(),
        users=users,
        items=items,
        delimiter=delimiter,
        encoding=encoding,
        replace=replace,
        show=show,
    )
    if write_settings:
        workspace = apply_suggestion(workspace, done.suggestion, features=not keep_features)
        if done.written >= LEAST_EVENTS and (fit := apply_fitting_recipe(workspace, show=show)) is not None:
            done.recipe, done.why = fit.recipe, fit.why
    return done


def read_events(
    workspace: Workspace,
    events: Path | ArrowStream,
    out: Path,
    *,
    kind: str | None,
    mapping: ColumnMapping,
    users: Path | ArrowStream | None,
    items: Path | ArrowStream | None,
    delimiter: str,
    encoding: str,
    replace: bool = False,
    show: bool = True,
) -> Imported:
    """Read events, users and items into the folder `out`, as `import_events` does into the workspace's own."""
    request = ImportRequest(
        source=events if isinstance(events, Path) else Path("events"),
        out=out,
        mapping=mapping,
        settings=workspace.settings.data,
        users=users,
        items=items,
        delimiter=delimiter,
        encoding=encoding,
        replace=replace,
        show=show,
        forgotten=load_forgotten(workspace.settings.data, workspace.root),
    )
    if isinstance(events, Path):
        return IMPORTERS[_kind(kind, events)](request)
    if kind is not None:
        raise ConfigError(f"kind {kind!r} is for files; the events were given as {type(events).__name__}")
    return import_arrow(request, events)


def _kind(kind: str | None, source: Path) -> str:
    if kind is None:
        return "csv" if source.suffix.lower() in _TEXT_SUFFIXES else "parquet"
    if kind not in IMPORTERS:
        raise ConfigError(f"{kind!r}: no such importer; there are: {', '.join(IMPORTERS)}")
    return kind
