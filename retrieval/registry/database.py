"""The registry's database, SQLite or PostgreSQL: opening, making and migrating it, transactions, and its errors.

Opening never makes or migrates anything: `upgrade_database` does, for `retrieval init` and `retrieval upgrade`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from retrieval.errors import ArtifactError, ConfigError, ConflictError, UnavailableError

REVISIONS = ("0001",)
"""The migrations in `migrations/versions`, oldest first; known here so that opening need not load alembic."""
HEAD = REVISIONS[-1]

_BUSY_S = 10.0
_CONNECT_S = 5
_MIGRATION_LOCK = 0x7265747269  # any number that every process agrees on


class Database:
    """One database: `read()` and `write()` give a session in a transaction; `write()` serialises writers."""

    def __init__(self, engine: Engine, shown: str) -> None:
        self._engine = engine
        self._writing = engine.execution_options(writing=True)
        self.shown = shown
        """The URL, its password masked."""

    @classmethod
    def open(cls, url: str, *, root: Path | None = None) -> Database:
        """Open the database at `url`, relative SQLite paths under `root`. Nothing is made or migrated.

        Raises ConfigError (not a database URL), UnavailableError (missing, empty, or can't be reached), ConflictError
        (its schema is older or newer than this program's), ArtifactError (not a SQLite file).
        """
        parsed = _parse(url)
        database = cls(_engine(parsed, root, create=False), _mask(parsed))
        try:
            database._check_schema()
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database."""
        with self._errors(), Session(self._engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose changes are committed together when the block ends, or not at all."""
        with self._errors(), Session(self._writing) as session, session.begin():
            yield session

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    def _check_schema(self) -> None:
        with self._errors(), self._engine.connect() as connection:
            found = _revision(connection)
        if found is None:
            raise UnavailableError(f"registry {self.shown}: holds no tables yet; `retrieval upgrade` makes them")
        _refuse_newer(found, self.shown)
        if found != HEAD:
            raise ConflictError(
                f"registry {self.shown}: written by an older program (schema {found}, this one needs {HEAD}); "
                "`retrieval upgrade` migrates it"
            )

    def migrate(self) -> str:
        """Bring the schema to HEAD in one transaction; returns what it was before, "" for no tables."""
        with self._errors():
            with self._engine.connect() as connection:
                if _revision(connection) == HEAD:
                    return HEAD
            with self._writing.begin() as connection:
                if connection.dialect.name == "postgresql":
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                return _migrate_up(connection, self.shown)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise ConflictError(f"registry {self.shown}: refused by the database: {error.orig}") from error
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            cause = str(getattr(error, "orig", None) or error).strip()
            raise UnavailableError(f"registry {self.shown}: can't be reached now: {cause}") from error
        except DatabaseError as error:
            if isinstance(error.orig, sqlite3.DatabaseError):
                raise ArtifactError(f"registry {self.shown}: not a usable SQLite file: {error.orig}") from error
            raise


@dataclass(frozen=True, slots=True)
class DatabaseUpgrade:
    """What an upgrade found and made: the URL, its password masked, and the schema before ("": no tables) and after."""

    shown: str
    before: str
    after: str


def upgrade_database(url: str, *, root: Path | None = None) -> DatabaseUpgrade:
    """Make the database at `url` where there is none, migrate it where its schema is older; else nothing is changed.

    PostgreSQL databases are left to their owner: only tables are made. Raises ConfigError, UnavailableError,
    ConflictError (a newer schema; or a SQLite file that seems to have been moved away), ArtifactError.
    """
    parsed = _parse(url)
    database = Database(_engine(parsed, root, create=True), _mask(parsed))
    with closing(database):
        return DatabaseUpgrade(database.shown, database.migrate(), HEAD)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError("registry.url: not a database URL; expected sqlite:///FILE or postgresql://…") from error
    name = {"sqlite": "sqlite", "postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}.get(
        parsed.drivername, parsed.drivername
    )
    if name not in {"sqlite", "postgresql+psycopg"}:
        raise ConfigError(
            f"registry.url: {parsed.drivername!r} is not known; expected sqlite:///FILE or postgresql://…"
        )
    return parsed.set(drivername=name)


def _mask(url: URL) -> str:
    if "password" in url.query:
        url = url.update_query_dict({"password": "***"})
    return url.render_as_string(hide_password=True)


def _engine(url: URL, root: Path | None, *, create: bool) -> Engine:
    if url.get_backend_name() != "sqlite":
        return _postgresql(url)
    shown = _mask(url)
    if not url.database or url.database == ":memory:":
        raise ConfigError(f"registry.url {shown}: needs a file, as in sqlite:///registry.db")
    path = ((root or Path.cwd()) / url.database).resolve()
    if create:
        _create_file(path, shown)
    else:
        _need_file(path, shown)
    _use_wal(path, shown)
    engine = create_engine("sqlite://", creator=_connector(path, shown), poolclass=NullPool)
    event.listen(engine, "begin", _begin)
    return engine


def _need_file(path: Path, shown: str) -> None:
    """Raise UnavailableError unless the file is there with something in it.

    SQLite takes a file of 0 bytes for a new database, and deletes the write-ahead log that lies beside it.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UnavailableError(
            f"registry {shown}: {path} can't be opened ({error.strerror}): put it back if it was moved; "
            "`retrieval upgrade` makes a new, empty registry"
        ) from error
    if size == 0:
        raise UnavailableError(
            f"registry {shown}: {path} is empty (0 bytes): put back the file that was there; where there was none, "
            "`retrieval upgrade` makes a registry of it"
        )


def _create_file(path: Path, shown: str) -> None:
    """Make the file where there is none. Raises ConflictError where there was one: its write-ahead log is still there.

    A new file in place of one that was moved away would end with the old one's rows lost: when the old one comes back,
    SQLite finds the write-ahead log of another database beside it.
    """
    log = path.with_name(path.name + "-wal")
    try:
        if log.exists() and (not path.exists() or path.stat().st_size == 0):
            raise ConflictError(
                f"registry {shown}: {log} lies there without its {path.name}: put that back; "
                "only if its rows are not needed, delete the log and run this again"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None).close()
    except (OSError, sqlite3.OperationalError) as error:
        raise UnavailableError(f"registry {shown}: {path} can't be made or opened: {error}") from error


def _use_wal(path: Path, shown: str) -> None:
    """Switch the file to WAL mode, in which readers and a writer don't wait for each other; it stays so."""
    try:
        connection = _connect(path)
        try:
            # several processes may switch at the same moment, and SQLite's busy timeout does not cover this one
            until = time.monotonic() + _BUSY_S
            while not _switch_to_wal(connection):
                if time.monotonic() > until:
                    raise UnavailableError(f"registry {shown}: {path} is locked by another process")
                time.sleep(0.02)
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        raise UnavailableError(f"registry {shown}: {path} can't be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        raise ArtifactError(f"registry {shown}: {path} is not a usable SQLite file: {error}") from error


def _switch_to_wal(connection: sqlite3.Connection) -> bool:
    try:
        if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
            return True
        return bool(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] == "wal")
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            return False
        raise


def _connector(path: Path, shown: str) -> Callable[[], sqlite3.Connection]:
    def connect() -> sqlite3.Connection:
        _need_file(path, shown)  # it may have gone since the registry was opened
        connection = _connect(path)
        connection.execute("PRAGMA foreign_keys=ON")
        return connection

    return connect


def _connect(path: Path) -> sqlite3.Connection:
    """A connection to a file that is there; mode=rw makes none. This module says when a transaction begins."""
    return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=_BUSY_S, isolation_level=None)


def _begin(connection: Connection) -> None:
    # a writer takes the lock at once: a reader that turns writer half-way could only fail
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _postgresql(url: URL) -> Engine:
    options: dict[str, Any] = {"connect_timeout": _CONNECT_S, "tcp_user_timeout": 10_000}
    return create_engine(url, pool_pre_ping=True, pool_size=2, max_overflow=4, pool_timeout=5, connect_args=options)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return None if found is None else str(found)


def _migrate_up(connection: Connection, shown: str) -> str:
    found = _revision(connection)
    if found == HEAD:
        return found
    _refuse_newer(found, shown)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return found or ""


def _refuse_newer(found: str | None, shown: str) -> None:
    if found is not None and found not in REVISIONS:
        raise ConflictError(f"registry {shown}: written by a newer program (schema {found}, this one knows {HEAD})")
