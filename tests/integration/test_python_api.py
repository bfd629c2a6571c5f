"""The Python face against a fleet of real processes: the same questions, in this process and over gRPC."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import retrieval
from retrieval.errors import DeadlineError, RequestError, UnavailableError
from retrieval.serving.local_fleet.supervisor import free_port
from tests.serving_fleet import RunningFleet, running_fleet
from tests.unit.api.conftest import SMALL, tables

AT = 1_710_000_000_000_000
USERS = [f"u{n}" for n in range(60)]
PATIENT = {"serving.deadline_ms": 20_000, "serving.search_timeout_ms": 5000}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> retrieval.Workspace:
    root = tmp_path_factory.mktemp("served")
    made = retrieval.Workspace.create(
        root / "shop",
        **tables("pandas", root),
        context=["device"],
        model="shop",
        settings={**SMALL, **PATIENT},
        show=False,
    )
    made.train(show=False)
    build = made.build_index(show=False)
    made.load_users(show=False)
    build.deploy()
    return made


@pytest.fixture(scope="module")
def fleet(shop: retrieval.Workspace) -> Iterator[RunningFleet]:
    with running_fleet(shop.path) as running:
        yield running


def _asked(position: int) -> dict[str, object]:
    """Requests of many kinds, so that every keyword goes both ways."""
    kinds: list[dict[str, object]] = [
        {},
        {"context": {"device": "phone"}},
        {"profile": {"country": "FR", "height": 181.5}},
        {"filter": {"colour": ["red", "blue"]}},
        {"filter": "price=10..60", "allow_seen": True},
        {"history": [("i3", AT - 9_000_000, "click"), ("i7", AT - 5_000_000, "save")]},
        {"exclude": ["i1", "i2", "i3"], "ef": 200},
        {"visit_budget": 1000, "time_budget_us": 1_000_000},
        {"context": {"page": "front"}, "profile": {"height": float("nan")}},
        {"seen_by": ["colour"], "seen_by_events": 2, "allow_seen": True},
        {"seen_hours": 0.001, "history": [("i3", AT - 9_000_000, "click"), ("i7", AT - 1_000_000, "save")]},
        {"seen_by": ["tags", "colour"], "seen_by_events": 1},
        {"attributes": ["colour", "tags", "price", "shoe"]},
    ]
    return {**kinds[position % len(kinds)], "at": AT + position}


def test_answers_in_process_equal_those_that_are_served(shop: retrieval.Workspace, fleet: RunningFleet) -> None:
    with shop.retriever(show=False) as retriever, retrieval.Client(fleet.address, timeout=20) as client:
        for position, user in enumerate([*USERS, "nobody"]):
            asked = _asked(position)
            here = retriever.candidates(user, k=8, **asked)  # type: ignore[arg-type]
            served = client.candidates(user, k=8, **asked)  # type: ignore[arg-type]
            assert here.item_ids == served.item_ids, (user, asked)
            assert here.scores == pytest.approx(served.scores, abs=1e-6)
            assert here.ignored == served.ignored, (user, asked)
            assert here.attributes == served.attributes, (user, asked)
            assert (here.versions, here.builds, here.user_known) == (served.versions, served.builds, served.user_known)
            assert (here.shards_asked, here.shards_answered) == (served.shards_asked, served.shards_answered) == (2, 2)
        together = client.batch(USERS, k=5, at=AT)
        assert [found.item_ids for found in together] == [
            found.item_ids for found in retriever.batch(USERS, k=5, at=AT)
        ]
        assert served.timings["total"] > 0
        assert served.to_arrow().column_names == ["item_id", "score"]


def test_nothing_alike_to_the_newest_events_comes_back(shop: retrieval.Workspace, fleet: RunningFleet) -> None:
    """Against the whole list without what is alike, by the log and the items; the two may lie in different shards."""
    events = pq.read_table(shop.path / "data" / "events").sort_by("timestamp")
    items = {row["item_id"]: row for row in pq.read_table(shop.path / "data" / "items.parquet").to_pylist()}

    def values(item: str, name: str) -> set[object]:
        value = items[item][name]
        return set(value) if isinstance(value, list) else {value} - {None}

    left_out = 0
    with retrieval.Client(fleet.address, timeout=20) as client:
        for user in USERS[:20]:
            history = events.filter(pc.equal(events["user_id"], user))["item_id"].to_pylist()
            whole = client.candidates(user, k=60, at=AT, allow_seen=True, ef=200).item_ids
            for count, names in ((1, ["colour"]), (3, ["tags"]), (2, ["colour", "tags"])):
                seen = {name: set().union(*(values(item, name) for item in history[-count:])) for name in names}
                options = {"seen_by": names, "seen_by_events": count, "allow_seen": True, "ef": 200}
                found = client.candidates(user, k=60, at=AT, **options)  # type: ignore[arg-type]
                alike = {item for item in whole if any(values(item, name) & seen[name] for name in names)}
                assert [*found.item_ids] == [item for item in whole if item not in alike]
                left_out += len(alike)
        assert left_out > 100
        with pytest.raises(RequestError, match="the index holds no attribute 'shoe'"):
            client.candidates("u1", seen_by=["shoe"])
        # shown beside the candidates, and in data frames
        shown = client.candidates("u1", k=5, attributes=["colour", "tags"]).to_arrow()
        assert shown.column_names == ["item_id", "score", "colour", "tags"]
        for row in shown.to_pylist():
            assert (row["colour"], row["tags"] or []) == (
                items[row["item_id"]]["colour"],
                items[row["item_id"]]["tags"] or [],
            )


def test_awaited_answers_are_the_same(fleet: RunningFleet) -> None:
    async def ask() -> list[retrieval.Candidates]:
        async with retrieval.AsyncClient(fleet.address, timeout=20) as client:
            one_by_one = await asyncio.gather(*(client.candidates(user, k=5, at=AT) for user in USERS[:10]))
            return [*one_by_one, *await client.batch(USERS[:10], k=5, at=AT)]

    found = asyncio.run(ask())
    with retrieval.Client(fleet.address, timeout=20) as client:
        expected = [client.candidates(user, k=5, at=AT).item_ids for user in USERS[:10]]
    assert [one.item_ids for one in found] == expected * 2


def test_a_bad_request_is_told_what_to_change(fleet: RunningFleet) -> None:
    with retrieval.Client(fleet.address, timeout=20) as client:
        with pytest.raises(RequestError, match="k: 5,000"):
            client.candidates("u1", k=5000)
        with pytest.raises(RequestError, match=r"requests\[0\].k: 0"):
            client.batch(["u1"], k=0)

    async def ask() -> None:
        async with retrieval.AsyncClient(fleet.address, timeout=20) as client:
            await client.candidates("u1", k=5000)

    with pytest.raises(RequestError, match="k: 5,000"):
        asyncio.run(ask())


def test_without_a_service_a_call_ends_within_its_timeout() -> None:
    began = time.monotonic()
    nobody = pytest.raises((UnavailableError, DeadlineError), match="candidate service at")
    with retrieval.Client(f"127.0.0.1:{free_port()}", timeout=1.0) as client, nobody:
        client.candidates("u1")
    assert time.monotonic() - began < 10
