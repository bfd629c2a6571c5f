"""Engagements recorded while services run: in the history at once, and over a load from data that lacks them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from retrieval.serving.users.recorded import KEPT_US, Engagement, add_recorded, take_over
from retrieval.serving.users.store import UserStore
from retrieval.v1 import user_pb2

NOW = 1_700_000_000_000_000


def record(*rows: tuple[str, int, str]) -> user_pb2.UserRecord:
    items, times, actions = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    return user_pb2.UserRecord(history=user_pb2.History(item_ids=items, timestamps=times, actions=actions))


def rows(of: user_pb2.UserRecord) -> list[tuple[str, int, str]]:
    return list(zip(of.history.item_ids, of.history.timestamps, of.history.actions, strict=True))


_ENGAGEMENTS = st.lists(
    st.builds(Engagement, st.sampled_from("xyz"), st.integers(0, 5), st.sampled_from(["click", "save"])), max_size=12
)


@given(before=_ENGAGEMENTS, added=_ENGAGEMENTS)
def test_a_history_is_in_order_and_holds_each_engagement_once(
    before: list[Engagement], added: list[Engagement]
) -> None:
    one = record(*sorted(set(before), key=lambda each: each.timestamp))
    add_recorded(one, added, now_us=NOW, newest=1000)
    add_recorded(one, added, now_us=NOW, newest=1000)
    assert sorted(rows(one)) == sorted(set(before) | set(added))
    assert list(one.history.timestamps) == sorted(one.history.timestamps)


@given(known=_ENGAGEMENTS, recorded=_ENGAGEMENTS)
def test_a_loaded_record_takes_over_what_it_lacks(known: list[Engagement], recorded: list[Engagement]) -> None:
    stored = record()
    add_recorded(stored, recorded, now_us=NOW, newest=1000)
    loaded = record(*sorted(set(known), key=lambda each: each.timestamp))
    take_over(loaded, stored, now_us=NOW + 1)
    assert sorted(rows(loaded)) == sorted(set(known) | set(recorded))
    assert set(zip(loaded.recorded.item_ids, loaded.recorded.timestamps, loaded.recorded.actions, strict=True)) == (
        set(recorded) - set(known)
    )


def test_what_is_old_is_taken_over_no_more() -> None:
    stored = record()
    add_recorded(stored, [Engagement("x", 1, "click")], now_us=NOW, newest=10)
    loaded = record()
    take_over(loaded, stored, now_us=NOW + KEPT_US + 1)
    assert rows(loaded) == []


def test_the_newest_stay_of_a_long_history_and_unknown_actions_are_named() -> None:
    one = user_pb2.UserRecord(history=user_pb2.History(item_ids=["a", "b"], timestamps=[1, 2]))
    add_recorded(one, [Engagement("c", 3, "click")], now_us=NOW, newest=2)
    assert rows(one) == [("b", 2, "unknown"), ("c", 3, "click")]


def test_the_store_keeps_what_was_recorded_over_a_load_and_a_drop(tmp_path: Path) -> None:
    with closing(UserStore.create(tmp_path, gib=1)) as store:
        list(store.load([("a", record(("x", 1, "click"))), ("gone", record(("x", 1, "click")))]))
        store.append({"a": [Engagement("y", 2, "click")], "new": [Engagement("z", 3, "save")]}, newest=100)
        found = store.get("new")
        assert found is not None
        assert found.history.item_ids == ["z"]
        began = 2**62
        list(store.load([("a", record(("x", 1, "click"), ("w", 5, "click")))]))
        stored = store.record("a")
        assert stored is not None
        assert rows(stored) == [("x", 1, "click"), ("y", 2, "click"), ("w", 5, "click")]
        assert store.drop_older(began) == 1
        assert store.record("gone") is None
        assert store.record("new") is not None


def test_all_users_of_an_append_or_none(tmp_path: Path) -> None:
    with closing(UserStore.create(tmp_path, gib=1)) as store:
        store.append({}, newest=1)
        long = "u" * 1024
        store.append({long: [Engagement("z", 3, "save")]}, newest=1)
        assert store.get(long) is not None
        assert store.count() == 1
