from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from retrieval.errors import ArtifactError, ConfigError, ConflictError, RetrievalError, UnavailableError
from retrieval.registry import GateRow, HostRow, Registry
from retrieval.registry import database as database_module
from retrieval.registry.database import HEAD, REVISIONS, Database, make_url, upgrade_database


def _reserve_many(url: str, count: int) -> list[int]:
    registry = Registry.create(url)
    numbers = []
    for _ in range(count):
        numbers.append(registry.reserve_version("feed").version)
        registry.heartbeat(HostRow(host_id=f"h{count}", role="ann", address="x:1", model="feed"))
    registry.close()
    return numbers


def test_processes_that_open_and_reserve_at_once_get_different_numbers(url: str) -> None:
    # nobody has opened it before: the migration races too
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        parts = list(pool.map(_reserve_many, [url] * 3, [12] * 3))
    numbers = sorted(number for part in parts for number in part)
    assert numbers == list(range(1, 37))
    registry = Registry.create(url)
    assert len(registry.list_versions("feed")) == 36
    registry.close()


def test_threads_reserve_through_one_registry(registry: Registry) -> None:
    with ThreadPoolExecutor(6) as pool:
        rows = list(pool.map(lambda _: registry.reserve_version("feed").version, range(30)))
    assert sorted(rows) == list(range(1, 31))


def test_of_several_deployments_started_at_once_one_runs(registry: Registry) -> None:
    from retrieval.registry import BuildRow, VersionRow

    registry.add_version(VersionRow(model="feed", version=1, space_id="s"))
    build = registry.add_build(BuildRow(model="feed", number=1, version=1, space_id="s"))
    start = threading.Barrier(4)

    def attempt(_: int) -> bool:
        start.wait()
        try:
            registry.start_deployment(build.id)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(attempt, range(4))) == [False, False, False, True]


def test_the_tables_are_what_the_migrations_make(url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from retrieval.registry.tables import METADATA, one_running_deployment

    one_running_deployment()
    upgrade_database(url)
    database = Database.open(url)
    with database._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    database.close()
    migrations = Path(__file__).parents[3] / "retrieval" / "registry" / "migrations"
    scripts = ScriptDirectory(str(migrations))
    assert scripts.get_current_head() == HEAD
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == REVISIONS


def test_a_registry_of_a_newer_program_is_left_alone(url: str) -> None:
    upgrade_database(url)
    database = Database.open(url)
    with database._writing.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    for attempt in (Registry.open, Registry.create):
        with pytest.raises(ConflictError, match="newer program"):
            attempt(url)


def test_a_migration_that_is_cut_short_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import op

    def cut(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(op, "create_index", cut)
        with pytest.raises(RuntimeError, match="killed"):
            Registry.create("sqlite:///registry.db", root=tmp_path)
    with sqlite3.connect(tmp_path / "registry.db") as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()
    Registry.create("sqlite:///registry.db", root=tmp_path).reserve_version("feed")


def test_sqlite_is_opened_in_wal_mode_with_foreign_keys(tmp_path: Path) -> None:
    upgrade_database("sqlite:///registry.db", root=tmp_path)
    database = Database.open("sqlite:///registry.db", root=tmp_path)
    with database._engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar_one() == 1
    assert (tmp_path / "registry.db").is_file()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://user:secret@host/db", "'mysql' is not known"),
        ("nonsense", "not a database URL"),
        ("sqlite://", "needs a file"),
    ],
)
def test_a_url_that_is_no_registry_is_refused_without_showing_its_password(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Registry.open(url)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_away_is_unavailable_and_its_password_is_masked() -> None:
    with pytest.raises(UnavailableError, match="can't be reached now") as caught:
        Registry.open("postgresql://user:hush-hush@127.0.0.1:1/db?password=hush-hush")
    assert "hush-hush" not in str(caught.value)
    assert "user:***@127.0.0.1" in str(caught.value)


def test_a_registry_that_went_away_is_unavailable_until_it_comes_back(tmp_path: Path) -> None:
    registry = Registry.create("sqlite:///registry.db", root=tmp_path)
    registry.reserve_version("feed")
    (tmp_path / "registry.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(UnavailableError, match=r"registry\.db"):
        registry.list_versions()
    with pytest.raises(UnavailableError):
        registry.reserve_version("feed")
    assert not (tmp_path / "registry.db").exists()
    (tmp_path / "elsewhere.db").rename(tmp_path / "registry.db")
    assert registry.reserve_version("feed").version == 2


@pytest.mark.postgres
def test_a_server_that_drops_its_connections_is_found_again(postgres_url: str) -> None:
    registry = Registry.create(postgres_url)
    registry.reserve_version("feed")
    engine = create_engine(make_url(postgres_url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        drop = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
        connection.execute(text(drop + "pg_backend_pid()"))
    engine.dispose()
    assert registry.reserve_version("feed").version == 2
    registry.close()


def test_a_file_that_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    for attempt in (Registry.open, Registry.create):
        with pytest.raises(ArtifactError, match=r"registry\.db is not a usable SQLite file"):
            attempt("sqlite:///registry.db", root=tmp_path)


def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnavailableError, match="can't be made or opened"):
        Registry.create("sqlite:///file/registry.db", root=tmp_path)


def test_a_writer_that_holds_the_lock_makes_others_wait(tmp_path: Path) -> None:
    registry = Registry.create("sqlite:///registry.db", root=tmp_path)
    holder = sqlite3.connect(tmp_path / "registry.db", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.2, holder.rollback)
    timer.start()
    assert registry.reserve_version("feed").version == 1
    timer.join()
    holder.close()


def test_relative_paths_are_under_the_root(tmp_path: Path) -> None:
    Registry.create("sqlite:///deep/registry.db", root=tmp_path).close()
    assert (tmp_path / "deep" / "registry.db").is_file()
    Registry.open("sqlite:///deep/registry.db", root=tmp_path).close()


# -- opening never makes or migrates


def test_a_file_that_is_missing_is_said_to_be_missing_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"deep/registry\.db can't be opened.*retrieval upgrade"):
        Registry.open("sqlite:///deep/registry.db", root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_no_bytes_is_refused_and_the_log_beside_it_is_left(tmp_path: Path) -> None:
    (tmp_path / "registry.db").touch()
    (tmp_path / "registry.db-wal").write_bytes(b"rows of the file that was here")
    with pytest.raises(UnavailableError, match="empty \\(0 bytes\\)"):
        Registry.open("sqlite:///registry.db", root=tmp_path)
    with pytest.raises(ConflictError, match=r"registry\.db-wal lies there without its registry\.db"):
        Registry.create("sqlite:///registry.db", root=tmp_path)
    assert (tmp_path / "registry.db-wal").read_bytes() == b"rows of the file that was here"
    assert (tmp_path / "registry.db").stat().st_size == 0


def test_a_file_of_no_bytes_and_no_log_becomes_a_registry_when_asked(tmp_path: Path) -> None:
    (tmp_path / "registry.db").touch()
    assert upgrade_database("sqlite:///registry.db", root=tmp_path).before == ""
    Registry.open("sqlite:///registry.db", root=tmp_path).close()


def test_a_new_file_is_not_made_over_what_was_left_of_one_that_moved_away(tmp_path: Path) -> None:
    registry = Registry.create("sqlite:///registry.db", root=tmp_path)
    reader = sqlite3.connect(tmp_path / "registry.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM versions").fetchone()  # a reader keeps the write-ahead log from being emptied
    registry.reserve_version("feed")
    (tmp_path / "registry.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(ConflictError, match="put that back"):
        Registry.create("sqlite:///registry.db", root=tmp_path)
    (tmp_path / "elsewhere.db").rename(tmp_path / "registry.db")
    assert [row.version for row in registry.list_versions("feed")] == [1]
    reader.close()


def test_a_database_without_tables_is_opened_by_nobody_but_upgrade(url: str, tmp_path: Path) -> None:
    if url.startswith("sqlite"):
        with sqlite3.connect(tmp_path / "registry.db") as connection:
            connection.execute("CREATE TABLE somebody_elses (x)")
        connection.close()
    with pytest.raises(UnavailableError, match="holds no tables yet; `retrieval upgrade`"):
        Registry.open(url)
    with pytest.raises(UnavailableError, match="holds no tables yet"):
        Registry.open(url)  # the first attempt made none
    done = upgrade_database(url)
    assert (done.before, done.after) == ("", HEAD)
    assert "nothing-secret" not in done.masked_url
    Registry.open(url).close()
    assert upgrade_database(url).before == HEAD


def test_an_older_schema_is_left_alone_until_the_upgrade(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry.create(url)
    registry.reserve_version("feed")
    registry.close()
    with monkeypatch.context() as patched:
        patched.setattr(database_module, "REVISIONS", (*REVISIONS, "9999"))
        patched.setattr(database_module, "HEAD", "9999")
        with pytest.raises(
            ConflictError, match=f"older program \\(schema {HEAD}, this one needs 9999\\); `retrieval upg"
        ):
            Registry.open(url)
    registry = Registry.open(url)
    assert len(registry.list_versions("feed")) == 1
    registry.close()


def test_a_file_in_another_journal_mode_is_switched_on_opening(tmp_path: Path) -> None:
    Registry.create("sqlite:///registry.db", root=tmp_path).close()
    with sqlite3.connect(tmp_path / "registry.db") as connection:
        assert connection.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)
    connection.close()
    Registry.open("sqlite:///registry.db", root=tmp_path).close()
    with sqlite3.connect(tmp_path / "registry.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_registry_of_the_first_schema_keeps_its_rows(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(database_module, "REVISIONS", ("0001",))
        patched.setattr(database_module, "HEAD", "0001")
        upgrade_database(url)
        database = Database.open(url)
        with database.write() as connection:
            for statement in OLD_ROWS:
                connection.execute(text(statement))
        database.close()
    done = upgrade_database(url)
    assert (done.before, done.after) == ("0001", HEAD)
    registry = Registry.open(url)
    (row,) = registry.list_deployments("feed")
    assert (row.build, row.kind, row.state) == (1, "deploy", "running")
    build = registry.get_build(row.build_id)
    assert (build.parent, build.at_us, build.state) == (None, None, "ready")
    with pytest.raises(ConflictError, match="is running"):
        registry.start_deployment(build.id)
    registry.finish_deployment(row.id, "done")
    assert registry.start_deployment(build.id, kind="refresh").id > row.id
    registry.close()


OLD_ROWS = (
    "INSERT INTO models VALUES ('feed', 2, 2, '2026-01-01 00:00:00')",
    "INSERT INTO versions VALUES ('feed', 1, 's', 'k', 'ready', '{}', '', '2026-01-01 00:00:00', 'd')",
    "INSERT INTO builds VALUES ('feed', 1, 1, 's', 'k', 1, 10, 1.0, 'ready', '', '2026-01-01 00:00:00', 'd')",
    (
        "INSERT INTO deployments (model, build, previous_build, kind, state, who, started_at, finished_at, note) "
        "VALUES ('feed', 1, NULL, 'deploy', 'running', 'x', '2026-01-01 00:00:00', NULL, '')"
    ),
)


def test_what_gates_measured_before_they_could_warn_is_kept(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(database_module, "REVISIONS", REVISIONS[:4])
        patched.setattr(database_module, "HEAD", "0004")
        upgrade_database(url)
        with closing(Registry.open(url)) as registry:
            run = registry.retraining.start("feed", 7)
            said = GateRow(
                id=0, model="feed", run=run.id, version=1, build=None, gate="volume", outcome="refused",
                measured=0.4, threshold=0.6, sentence="half", forced="", at=datetime(2026, 1, 1, tzinfo=UTC),
            )  # fmt: skip
            step = registry.retraining.begin_step(run, "check_data", "1", {})
            registry.retraining.finish_step(replace(step, state="refused"), run, [said])
            with pytest.raises(RetrievalError):
                registry.retraining.finish_step(step, run, [replace(said, outcome="warned")])
    upgrade_database(url)
    with closing(Registry.open(url)) as registry:
        registry.retraining.finish_step(step, run, [replace(said, outcome="warned")])
        kept = registry.retraining.gates("feed", version=1)
    assert [replace(row, id=0) for row in kept] == [said, replace(said, outcome="warned")]
    assert kept[0].id < kept[1].id
