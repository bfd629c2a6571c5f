"""The door to the database: SQLite or PostgreSQL, transactions, migrations, and its errors in this project's words."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from retrieval.errors import ArtifactError, ConfigError, ConflictError, UnavailableError

HEAD = "0001"
"""The newest migration; compared with the database on opening: alembic is only loaded when there is one to run."""

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
        """Open `url` (relative SQLite paths are under `root`), migrate it up. Raises ConfigError, UnavailableError."""
        parsed = _parse(url)
        shown = _mask(parsed)
        if parsed.get_backend_name() == "sqlite":
            engine = _sqlite(parsed, root or Path.cwd(), shown)
        else:
            engine = _postgresql(parsed)
        database = cls(engine, shown)
        try:
            database._migrate()
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

    def _migrate(self) -> None:
        with self._errors():
            with self._engine.connect() as connection:
                if _revision(connection) == HEAD:
                    return
            with self._writing.begin() as connection:
                if connection.dialect.name == "postgresql":
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                _upgrade(connection, self.shown)

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


def _sqlite(url: URL, root: Path, shown: str) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ConfigError(f"registry.url {shown}: needs a file, as in sqlite:///registry.db")
    path = (root / url.database).resolve()
    _create_file(path, shown)
    engine = create_engine("sqlite://", creator=_connector(path), poolclass=NullPool)
    event.listen(engine, "begin", _begin)
    return engine


def _create_file(path: Path, shown: str) -> None:
    """Make the file, in WAL mode. Later connections never create one, so that a registry that went away stays away."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    except (OSError, sqlite3.OperationalError) as error:
        raise UnavailableError(f"registry {shown}: {path} can't be opened: {error}") from error
    try:
        # several processes may switch at the same moment, and SQLite's busy timeout does not cover this one
        until = time.monotonic() + _BUSY_S
        while not _switch_to_wal(connection):
            if time.monotonic() > until:
                raise UnavailableError(f"registry {shown}: {path} is locked by another process")
            time.sleep(0.02)
    except sqlite3.DatabaseError as error:
        raise ArtifactError(f"registry {shown}: {path} is not a usable SQLite file: {error}") from error
    finally:
        connection.close()


def _switch_to_wal(connection: sqlite3.Connection) -> bool:
    try:
        if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
            return True
        return bool(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] == "wal")
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            return False
        raise


def _connector(path: Path) -> Callable[[], sqlite3.Connection]:
    def connect() -> sqlite3.Connection:
        # isolation_level None: this module says when a transaction begins, not the driver
        connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=_BUSY_S, isolation_level=None)
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


def _upgrade(connection: Connection, shown: str) -> None:
    found = _revision(connection)
    if found == HEAD:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    if found is not None and found not in {
        script.revision for script in ScriptDirectory.from_config(config).walk_revisions()
    }:
        raise ConflictError(f"registry {shown}: written by a newer program (schema {found}, this one knows {HEAD})")
    command.upgrade(config, "head")
