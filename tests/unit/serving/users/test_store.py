from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from retrieval.errors import ArtifactError, NotFoundError
from retrieval.serving.users.loading import user_records
from retrieval.serving.users.store import LazyUserStore, UserStore
from retrieval.v1 import user_pb2
from tests.serving_world import World


def record(*items: str) -> user_pb2.UserRecord:
    history = user_pb2.History(item_ids=items, timestamps=range(len(items)), actions=["click"] * len(items))
    return user_pb2.UserRecord(history=history)


def fill(store: UserStore, users: dict[str, user_pb2.UserRecord]) -> int:
    return sum(store.load(users.items()))


WRITE = """
import sys
from pathlib import Path
from retrieval.serving.users.store import UserStore
from retrieval.v1 import user_pb2
store = UserStore.create(Path(sys.argv[1]), gib=1)
record = user_pb2.UserRecord(history=user_pb2.History(item_ids=["i1", "i2"], timestamps=[1, 2]))
list(store.load([("a", record), ("b", record)]))
"""


def test_a_reader_sees_what_another_process_writes(tmp_path: Path) -> None:
    store = UserStore.create(tmp_path / "users", gib=1)
    fill(store, {"a": record("i1")})
    store.close()
    reader = UserStore.open(tmp_path / "users", gib=1)
    assert list(reader.get("a").history.item_ids) == ["i1"]  # type: ignore[union-attr]
    subprocess.run([sys.executable, "-c", WRITE, str(tmp_path / "users")], check=True)
    assert list(reader.get("a").history.item_ids) == ["i1", "i2"]  # type: ignore[union-attr]
    assert reader.count() == 2
    assert reader.get("c") is None
    reader.close()


def test_ids_of_any_length_and_script(tmp_path: Path) -> None:
    store = UserStore.create(tmp_path / "users", gib=1)
    ids = ["x" * 1024, "x" * 1023, "ü" * 300, "名前", "0", " "]
    fill(store, {name: record(f"i{n}") for n, name in enumerate(ids)})
    assert [store.get(name).history.item_ids[0] for name in ids] == [f"i{n}" for n in range(len(ids))]  # type: ignore[union-attr]
    store.close()


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    store = UserStore.create(tmp_path / "users", gib=1)
    with store._environment.begin(write=True) as transaction:
        transaction.put(b"ua", b"\xff\xff\xff")
    with pytest.raises(ArtifactError, match="'a'"):
        store.get("a")
    store.close()


def test_users_who_are_gone_can_be_dropped(tmp_path: Path) -> None:
    store = UserStore.create(tmp_path / "users", gib=1)
    fill(store, {"old": record("i1"), "stays": record("i1")})
    last = store.record("old").loaded_at  # type: ignore[union-attr]
    fill(store, {"stays": record("i2")})
    assert store.drop_older(last + 1) == 1
    assert store.get("old") is None
    assert store.get("stays") is not None
    store.close()


def test_a_folder_that_is_no_store_is_named(tmp_path: Path) -> None:
    for write in (False, True):
        with pytest.raises(NotFoundError, match="retrieval upgrade"):
            UserStore.open(tmp_path / "none", write=write)
    assert list(tmp_path.iterdir()) == []  # not made in passing, to read or to write
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(ArtifactError, match="bad"):
        UserStore.open(tmp_path / "bad")


def test_a_store_that_appears_later_is_found(tmp_path: Path) -> None:
    users = LazyUserStore(tmp_path / "users", gib=1, retry_s=0.0)
    assert users.get("a") is None
    assert "no user store" in users.error
    store = UserStore.create(tmp_path / "users", gib=1)
    fill(store, {"a": record("i1")})
    store.close()
    assert users.get("a") is not None
    assert users.count() == 1
    assert users.error == ""
    users.close()


def test_one_process_opens_it_as_often_as_it_likes_to_read_and_to_write(tmp_path: Path) -> None:
    store = UserStore.create(tmp_path / "users", gib=1)
    fill(store, {"a": record("i1")})
    store.close()
    first, second = (LazyUserStore(tmp_path / "users", gib=1) for _ in range(2))
    assert first.count() == second.count() == 1
    with closing(UserStore.open(tmp_path / "users", gib=1, write=True)) as writer:
        fill(writer, {"b": record("i2")})
    assert first.get("b") is not None
    first.close()
    first.close()
    assert second.get("b") is not None
    assert second.error == ""
    second.close()


def test_a_store_put_in_the_place_of_another_is_read_anew(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with closing(UserStore.create(tmp_path / name, gib=1)) as store:
            fill(store, {name: record("i1")})
    held = UserStore.open(tmp_path / "old", gib=1)
    (tmp_path / "old").rename(tmp_path / "away")
    (tmp_path / "new").rename(tmp_path / "old")
    with closing(UserStore.open(tmp_path / "old", gib=1)) as store:
        assert store.get("new") is not None
    assert held.get("old") is not None
    held.close()


def test_who_may_only_read_it_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(UserStore.create(tmp_path, gib=1)) as store:
        fill(store, {"a": record("i1")})
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ArtifactError, match="not write it"):
        UserStore.open(tmp_path, gib=1, write=True)
    with closing(UserStore.open(tmp_path, gib=1)) as store:
        assert store.get("a") is not None


def test_a_store_that_cannot_be_opened_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not a database" * 1000)
    users = LazyUserStore(tmp_path, gib=1, retry_s=0.0)
    assert users.get("a") is users.get("b") is None
    (said,) = caplog.messages
    assert "not a user store" in said


def test_records_hold_every_user_with_history_and_profile(world: World) -> None:
    histories = world.dataset.histories
    found = dict(user_records(world.dataset))
    assert set(found) == set(histories.user_ids.to_pylist())
    row = 7
    events = slice(int(histories.offsets[row]), int(histories.offsets[row + 1]))
    mine = found[histories.user_ids[row].as_py()]
    assert list(mine.history.item_ids) == [histories.item_ids[i].as_py() for i in histories.items[events].tolist()]
    assert list(mine.history.timestamps) == histories.timestamps[events].tolist()
    assert set(mine.profile) == {"country", "height"}
    assert mine.profile["country"].text == world.dataset.users["country"][row].as_py()
