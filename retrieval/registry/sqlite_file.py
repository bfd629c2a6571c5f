"""The file of a SQLite registry: seen to be there, made, switched to write-ahead logging, connected to."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from retrieval.errors import ArtifactError, ConflictError, UnavailableError

BUSY_S = 10.0
"""How long a connection waits for another process's transaction."""


def check_file(path: Path, masked_url: str) -> None:
    """Raise UnavailableError unless the file is there with something in it.

    SQLite takes a file of 0 bytes for a new database, and deletes the write-ahead log that lies beside it.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UnavailableError(
            f"registry {masked_url}: {path} can't be opened ({error.strerror}): put it back if it was moved; "
            "`retrieval upgrade` makes a new, empty registry"
        ) from error
    if size == 0:
        raise UnavailableError(
            f"registry {masked_url}: {path} is empty (0 bytes): put back the file that was there; where there was "
            "none, `retrieval upgrade` makes a registry of it"
        )


def create_file(path: Path, masked_url: str) -> None:
    """Make the file where there is none. Raises ConflictError where there was one: its write-ahead log is still there.

    A new file in place of one that was moved away would end with the old one's rows lost: when the old one comes back,
    SQLite finds the write-ahead log of another database beside it.
    """
    log = path.with_name(path.name + "-wal")
    try:
        if log.exists() and (not path.exists() or path.stat().st_size == 0):
            raise ConflictError(
                f"registry {masked_url}: {log} lies there without its {path.name}: put that back; "
                "only if its rows are not needed, delete the log and run this again"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        sqlite3.connect(path, timeout=BUSY_S, isolation_level=None).close()
    except (OSError, sqlite3.OperationalError) as error:
        raise UnavailableError(f"registry {masked_url}: {path} can't be made or opened: {error}") from error


def use_wal(path: Path, masked_url: str) -> None:
    """Switch the file to WAL mode, in which readers and a writer don't wait for each other; it stays so."""
    try:
        connection = connect(path)
        try:
            # several processes may switch at the same moment, and SQLite's busy timeout does not cover this one
            until = time.monotonic() + BUSY_S
            while not _switch_to_wal(connection):
                if time.monotonic() > until:
                    raise UnavailableError(f"registry {masked_url}: {path} is locked by another process")
                time.sleep(0.02)
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        raise UnavailableError(f"registry {masked_url}: {path} can't be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        raise ArtifactError(f"registry {masked_url}: {path} is not a usable SQLite file: {error}") from error


def _switch_to_wal(connection: sqlite3.Connection) -> bool:
    try:
        if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
            return True
        return bool(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] == "wal")
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            return False
        raise


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a file that is there (mode=rw makes none); transactions begin where the caller says BEGIN."""
    return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None)
