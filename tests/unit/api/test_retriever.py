from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

import retrieval
from retrieval.errors import NotFoundError, RetrievalError
from tests.unit.api.conftest import SMALL, item_table, tables

AT = 1_710_000_000_000_000


def test_a_retriever_answers_with_what_is_known_of_the_items(shop: retrieval.Workspace) -> None:
    with shop.retriever(1, show=False) as retriever:
        found = retriever.candidates("u17", k=5, context={"device": "phone"})
        stranger = retriever.candidates("nobody", k=3)
    assert len(found) == 5
    assert (found.versions, found.builds, found.user_known) == (("shop@1",), ("shop-b1",), True)
    assert (found.shards_asked, found.shards_answered) == (2, 2)
    frame = found.to_pandas()
    assert list(frame.columns[:2]) == ["item_id", "score"]
    assert {"colour", "title", "price"} <= set(frame.columns)
    assert frame["score"].is_monotonic_decreasing
    assert list(found.to_polars()["item_id"]) == list(found.item_ids) == [item for item, _ in found]
    titles = dict(zip(item_table(shop)["item_id"], item_table(shop)["title"], strict=True))
    assert [titles[item] for item in frame["item_id"]] == list(frame["title"])
    assert (stranger.user_known, len(stranger)) == (False, 3)


def test_what_no_feature_reads_is_said(shop: retrieval.Workspace) -> None:
    with shop.retriever(1, show=False) as retriever:
        found = retriever.candidates("u1", context={"page": "front"}, profile={"height": float("nan")})
        assert set(found.ignored) == {"context.page", "profile.height (NaN)"}
        assert retriever.candidates("u1", context={"device": "phone"}).ignored == ()


def test_filters_exclusions_and_histories_are_heeded(shop: retrieval.Workspace) -> None:
    colours = dict(zip(item_table(shop)["item_id"], item_table(shop)["colour"], strict=True))
    with shop.retriever(1, show=False) as retriever:
        red = retriever.candidates("u1", k=40, filter={"colour": "red"}, allow_seen=True)
        assert {colours[item] for item in red.item_ids} == {"red"}
        assert len(red) == 10
        some = retriever.candidates("u1", k=40, filter=["colour!=red", "price=..50"], allow_seen=True)
        assert "red" not in {colours[item] for item in some.item_ids}
        assert set(some.to_pandas()["price"] <= 50) == {True}
        first = retriever.candidates("u1", k=1).item_ids[0]
        assert first not in retriever.candidates("u1", k=40, exclude=[first]).item_ids
        seen = retriever.candidates(history=[("i3", AT), ("i5", AT + 5)], k=40)
        assert not {"i3", "i5"} & set(seen.item_ids)


def test_a_batch_answers_as_one_by_one(shop: retrieval.Workspace) -> None:
    users = [f"u{n}" for n in range(20)]
    with shop.retriever(1, show=False) as retriever:
        together = retriever.batch(users, k=7, at=AT)
        alone = [retriever.candidates(user, k=7, at=AT) for user in users]
    assert [found.user_id for found in together] == users
    assert [found.item_ids for found in together] == [found.item_ids for found in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-5)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"k": 0}, "k: 0"),
        ({"k": 5000}, "k: 5,000"),
        ({"k": "ten"}, "k: 'ten'; expected a whole number"),
        ({"history": ["i1"]}, r"history\[0\]"),
        ({"history": [("i1", 5), ("i2", 4)]}, "before its predecessor"),
        ({"context": {"device": object()}}, r"context\.device"),
        ({"filter": {"colour": object()}}, "colour"),
        ({"filter": "colour"}, "colour"),
        ({"at": "today"}, "'today' is no moment"),
    ],
)
def test_what_can_not_be_asked_says_what_to_change(
    shop: retrieval.Workspace, asked: dict[str, Any], message: str
) -> None:
    with shop.retriever(1, show=False) as retriever, pytest.raises(RetrievalError, match=message):
        retriever.candidates("u1", **asked)


def test_takedowns_hold_here_too(shop: retrieval.Workspace) -> None:
    with shop.retriever(1, show=False) as retriever:
        first = retriever.candidates("u1", k=1).item_ids[0]
    (shop.path / "takedowns.txt").write_text(f"{first}\n")
    opened = retrieval.Workspace.open(shop.path, settings={"serving.takedowns": "takedowns.txt"})
    with opened.retriever(1, show=False) as retriever:
        assert first not in retriever.candidates("u1", k=40).item_ids


def test_a_closed_retriever_says_so(shop: retrieval.Workspace) -> None:
    retriever = shop.retriever(1, show=False)
    retriever.close()
    retriever.close()
    with pytest.raises(NotFoundError, match="closed"):
        retriever.candidates("u1")


def test_new_events_reach_the_next_retriever(tmp_path: Path) -> None:
    given = tables("pandas", tmp_path)
    shop = retrieval.Workspace.create(tmp_path / "shop", **given, model="shop", settings=SMALL, show=False)
    shop.train(show=False)
    build = shop.build_index(show=False)
    with shop.retriever(build, show=False) as retriever:
        assert not retriever.candidates("newcomer").user_known
    [part] = (shop.path / "data" / "events").glob("*.parquet")
    events = pq.read_table(part).to_pandas()
    pd.concat([events, events.head(1).assign(user_id="newcomer")]).to_parquet(part)
    with shop.retriever(build, show=False) as retriever:
        assert retriever.candidates("newcomer").user_known
