"""The registry's database, SQLite or PostgreSQL: opening, making and migrating it, transactions, and its errors.

Opening never makes or migrates anything: `upgrade_database` does, for `retrieval init` and `retrieval upgrade`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool

from retrieval.errors import ArtifactError, ConfigError, ConflictError, UnavailableError
from retrieval.registry import sqlite_file

REVISIONS = ("0001", "0002", "0003", "0004", "0005")
"""The migrations in `migrations/versions`, oldest first; known here so that opening need not load alembic."""
HEAD = REVISIONS[-1]

_CONNECT_S = 5
_MIGRATION_LOCK = 0x7265747269  # any number that every process agrees on


class Database:
    """One database: `read()` and `write()` give a connection in a transaction; `write()` serialises writers."""

    def __init__(self, engine: Engine, masked_url: str) -> None:
        self._engine = engine
        self._writing = engine.execution_options(writing=True)
        self.masked_url = masked_url
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
    def read(self) -> Iterator[Connection]:
        """A connection that sees one state of the database."""
        with self._errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection whose changes are committed together when the block ends, or not at all."""
        with self._errors(), self._writing.begin() as connection:
            yield connection

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    def _check_schema(self) -> None:
        with self._errors(), self._engine.connect() as connection:
            found = _revision(connection)
        if found is None:
            raise UnavailableError(f"registry {self.masked_url}: holds no tables yet; `retrieval upgrade` makes them")
        _refuse_newer(found, self.masked_url)
        if found != HEAD:
            raise ConflictError(
                f"registry {self.masked_url}: written by an older program (schema {found}, this one needs {HEAD}); "
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
                return _migrate_up(connection, self.masked_url)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise ConflictError(f"registry {self.masked_url}: refused by the database: {error.orig}") from error
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            cause = str(getattr(error, "orig", None) or error).strip()
            raise UnavailableError(f"registry {self.masked_url}: can't be reached now: {cause}") from error
        except DatabaseError as error:
            if isinstance(error.orig, sqlite3.DatabaseError):
                raise ArtifactError(f"registry {self.masked_url}: not a usable SQLite file: {error.orig}") from error
            raise


@dataclass(frozen=True, slots=True)
class DatabaseUpgrade:
    """What an upgrade found and made: the URL, its password masked, and the schema before ("": no tables) and after."""

    masked_url: str
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
        return DatabaseUpgrade(database.masked_url, database.migrate(), HEAD)


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
    masked_url = _mask(url)
    if not url.database or url.database == ":memory:":
        raise ConfigError(f"registry.url {masked_url}: needs a file, as in sqlite:///registry.db")
    path = ((root or Path.cwd()) / url.database).resolve()
    if create:
        sqlite_file.create_file(path, masked_url)
    else:
        sqlite_file.check_file(path, masked_url)
    sqlite_file.use_wal(path, masked_url)
    engine = create_engine("sqlite://", creator=_connector(path, masked_url), poolclass=NullPool)
    event.listen(engine, "begin", _begin)
    return engine


def _connector(path: Path, masked_url: str) -> Callable[[], sqlite3.Connection]:
    def connect() -> sqlite3.Connection:
        sqlite_file.check_file(path, masked_url)  # it may have gone since the registry was opened
        connection = sqlite_file.connect(path)
        connection.execute("PRAGMA foreign_keys=ON")
        return connection

    return connect


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


def _migrate_up(connection: Connection, masked_url: str) -> str:
    found = _revision(connection)
    if found == HEAD:
        return found
    _refuse_newer(found, masked_url)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
    return found or ""


def _refuse_newer(found: str | None, masked_url: str) -> None:
    if found is not None and found not in REVISIONS:
        raise ConflictError(
            f"registry {masked_url}: written by a newer program (schema {found}, this one knows {HEAD})"
        )
