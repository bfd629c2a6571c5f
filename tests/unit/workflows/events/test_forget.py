"""A user is forgotten: nothing of theirs is left in the workspace, and nothing of others goes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from retrieval.cli.main import build_app
from retrieval.data.event_log.event import Event
from retrieval.data.event_log.log import EventLog
from retrieval.data.importers import ColumnMapping
from retrieval.errors import ConflictError, NotFoundError, RequestError
from retrieval.serving.users.recorded import Engagement
from retrieval.serving.users.store import UserStore
from retrieval.workflows.data.appending import append_events
from retrieval.workflows.data.importing import import_events
from retrieval.workflows.events.forget import Receipt, audit_subject, digest_of, forget_user
from retrieval.workflows.fleet.users import find_user, load_users
from retrieval.workflows.workspace import Workspace, create_workspace

AT = 1_700_000_000_000_000
SECRET = "user-secret"


def table(*rows: tuple[str, str, int]) -> pa.Table:
    columns = {name: [row[n] for row in rows] for n, name in enumerate(("user_id", "item_id", "timestamp"))}
    return pa.table(columns)


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    """Imported, appended and rejected rows, a profile, built histories and a filled user store of two users."""
    workspace = create_workspace(tmp_path, settings={"events": {"enabled": True, "segment_s": 3600.0}})
    events = table((SECRET, "x", AT), ("b", "y", AT + 1), (SECRET, "y", AT + 2), (SECRET, "", AT + 3), ("b", "", AT))
    users = pa.table({"user_id": [SECRET, "b"], "city": ["Ulm", "Bonn"]})
    import_events(workspace, events, users=users, mapping=ColumnMapping(), write_settings=True, show=False)
    workspace = workspace.reopen()
    append_events(workspace, table((SECRET, "x", AT + 10), ("b", "x", AT + 11)), show=False)
    load_users(workspace, show=False)
    return workspace


@pytest.fixture
def recorder(shop: Workspace) -> Iterator[EventLog]:
    with closing(EventLog(shop.settings.events, shop.settings.data, shop.root)) as log:
        yield log


def record(log: EventLog, *events: tuple[str, str, int]) -> None:
    log.append([Event(f"{user}-{item}-{at}", user, item, at) for user, item, at in events])


def left_in(root: Path) -> list[str]:
    """Files that hold the user's id, compressed columns read."""
    found = []
    for path in (path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"):
        is_table = path.suffix == ".parquet"
        if SECRET in (str(pq.read_table(path).to_pylist()) if is_table else path.read_bytes().decode("latin-1")):
            found.append(path.relative_to(root).as_posix())
    return sorted(found)


def test_nothing_of_the_user_is_left_and_all_of_others(shop: Workspace) -> None:
    with closing(EventLog(shop.settings.events, shop.settings.data, shop.root)) as log:
        record(log, (SECRET, "z", AT + 20), ("b", "z", AT + 21))
        log.append([Event("bad", SECRET, "", AT)])
    before = left_in(shop.root)
    assert len(before) >= 7
    receipt = forget_user(shop, SECRET)
    assert receipt == Receipt(
        user_id=SECRET,
        at=receipt.at,
        history=3,
        profile=1,
        imported=3,
        recorded=1,
        users=1,
        rejects=2,
        histories=1,
        remains=("pages of the user store that are freed and not yet used again",),
        digest=digest_of(receipt),
    )
    # the list, and pages of the user store that LMDB has freed and not yet used again
    assert [path for path in left_in(shop.root) if not path.startswith("users.lmdb")] == ["data/forgotten.jsonl"]
    with pytest.raises(NotFoundError):
        find_user(shop, SECRET)
    histories = shop.dataset(show=False).histories
    assert histories.user_ids.to_pylist() == ["b"]
    assert histories.events == 3
    assert find_user(shop, "b").history.item_ids == ["y", "x"]
    assert len((shop.root / "data/rejects/recorded.jsonl").read_text().splitlines()) == 0
    assert pq.read_table(shop.root / "data/rejects/import.parquet")["user"].to_pylist() == ["b"]


def test_what_a_running_recorder_holds_goes_too_and_what_comes_late_is_refused(
    shop: Workspace, recorder: EventLog
) -> None:
    record(recorder, (SECRET, "z", AT + 20), ("b", "z", AT + 21))
    receipt = forget_user(shop, SECRET)
    assert receipt.recorded == 1
    done = recorder.append([Event("late", SECRET, "z", AT + 30)])
    assert [one.reason for one in done.rejected] == ["user was forgotten"]
    assert SECRET not in (shop.root / "data/rejects/recorded.jsonl").read_text()
    assert shop.dataset(show=False).histories.events == 3
    assert list(shop.dataset(show=False).histories.user_ids.to_pylist()) == ["b"]


def test_segments_that_were_merged_go_too(shop: Workspace) -> None:
    with closing(EventLog(shop.settings.events, shop.settings.data, shop.root)) as log:
        for number in range(40):
            record(log, (SECRET, "z", AT + number), ("b", "z", AT + number))
            log.flush()
    assert forget_user(shop, SECRET).recorded == 40
    assert [path for path in left_in(shop.root) if not path.startswith("users.lmdb")] == ["data/forgotten.jsonl"]
    assert shop.dataset(show=False).histories.events == 42


def test_recorded_events_are_not_lost_to_an_import(shop: Workspace, recorder: EventLog) -> None:
    record(recorder, ("b", "z", AT))
    recorder.flush()
    with pytest.raises(ConflictError, match="holds recorded events"):
        import_events(shop, table(("b", "x", AT)), mapping=ColumnMapping(), replace=True, show=False)


def test_a_user_who_comes_back_begins_anew(shop: Workspace, recorder: EventLog) -> None:
    forget_user(shop, SECRET)
    later = 4_000_000_000_000_000
    fresh = shop.settings.data.model_copy(update={"future_hours": 1e9})
    recorder.close()
    with closing(EventLog(shop.settings.events, fresh, shop.root)) as log:
        record(log, (SECRET, "z", later))
    opened = Workspace.open(shop.root, ["data.future_hours=1e9"])
    histories = opened.dataset(show=False).histories
    assert histories.user_ids.to_pylist() == ["b", SECRET] or histories.user_ids.to_pylist() == [SECRET, "b"]
    load_users(opened, show=False)
    assert find_user(opened, SECRET).history.item_ids == ["z"]
    assert not find_user(opened, SECRET).profile


def test_an_older_log_that_is_imported_again_and_a_load_from_it_bring_nothing_back(shop: Workspace) -> None:
    stale = shop.dataset(show=False)
    forget_user(shop, SECRET)
    load_users(shop, dataset=stale, show=False)
    with pytest.raises(NotFoundError):
        find_user(shop, SECRET)
    done = append_events(shop, table((SECRET, "x", AT + 50), ("b", "w", AT + 51)), show=False)
    assert (done.events, done.rejected) == (1, {"user was forgotten": 1})
    assert SECRET not in str(pq.read_table(shop.root / "data/rejects/append.parquet").to_pylist())
    store = UserStore.open(shop.root / "users.lmdb", write=True)
    with closing(store):
        from retrieval.data.reading.forgotten import ForgottenFile, forgotten_file

        listed = ForgottenFile(forgotten_file(shop.settings.data, shop.root))
        store.append({SECRET: [Engagement("x", AT, "click")]}, newest=9, forgotten=listed)
        assert store.get(SECRET) is None


def test_rows_that_can_not_be_removed_are_left_out_where_they_are_read(shop: Workspace, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside" / "events"
    outside.parent.mkdir()
    (shop.root / "data" / "events").rename(outside)
    (shop.root / "data" / "events").symlink_to(outside)
    receipt = forget_user(shop, SECRET)
    assert receipt.imported == 0
    assert "outside of the workspace" in receipt.remains[0]
    histories = shop.dataset(show=False).histories
    assert histories.user_ids.to_pylist() == ["b"]
    assert histories.rejected["user was forgotten"] == 3


def test_integer_ids_are_found_and_left_out_as_well(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path)
    events = pa.table({"user_id": [7, 70, 7], "item_id": [1, 2, 3], "timestamp": [AT, AT, AT]})
    import_events(workspace, events, mapping=ColumnMapping(), write_settings=True, show=False)
    workspace = workspace.reopen()
    assert forget_user(workspace, "7").imported == 2
    assert workspace.dataset(show=False).histories.user_ids.to_pylist() == ["70"]
    more = pa.table({"user_id": [7, 70], "item_id": [1, 2], "timestamp": [AT + 1, AT + 1]})
    assert append_events(workspace, more, show=False).rejected == {"user was forgotten": 1}


def test_the_audit_trail_has_counts_and_digest_and_not_the_id(shop: Workspace) -> None:
    command = ["users", "forget", SECRET, "--yes", "--json", "-w", str(shop.root)]
    done = CliRunner().invoke(build_app(), command)
    assert done.exit_code == 0, done.output
    receipt = json.loads(done.stdout)
    with closing(shop.registry()) as registry:
        [entry] = registry.audit(subject=audit_subject(SECRET))
    assert entry.action == "user.forget"
    assert entry.details["digest"] == receipt["digest"]
    assert entry.details["imported"] == 3
    assert SECRET not in str(entry)
    again = forget_user(shop, SECRET)
    assert (again.history, again.imported, again.users) == (0, 0, 0)
    with pytest.raises(RequestError):
        forget_user(shop, " ")
