"""Which items may be answered, over the wire: filters, budgets that end a search, items that were taken down."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import ConfigError
from retrieval.index import AllOf, AnyOf, NoneOf, Range, SomeOf
from retrieval.serving.ann.host import AnnHost
from retrieval.serving.ann.service import AnnService
from retrieval.serving.local_fleet.supervisor import answers
from retrieval.serving.wire.ann_client import AnnClient
from retrieval.serving.wire.filters import filter_message
from retrieval.v1 import candidates_pb2, filter_pb2
from tests.integration.services import CONFIG, Services, services
from tests.serving_world import MODEL, World

Ask = candidates_pb2.GetCandidatesRequest


def test_filters_are_anded(running: Services) -> None:
    conditions = [
        filter_pb2.Condition(field="colour", any_of=filter_pb2.AnyOf(texts=["red", "blue"])),
        filter_pb2.Condition(field="price", range=filter_pb2.Range(minimum=20, maximum=60)),
    ]
    answer = running.stub.GetCandidates(
        Ask(user_id="nobody", k=2000, filter=filter_pb2.Filter(conditions=conditions)), timeout=10
    )
    rows = running.world.dataset.items.to_pylist()
    expected = {r["item_id"] for r in rows if r["colour"] in {"red", "blue"} and 20 <= r["price"] <= 60}
    assert set(answer.item_ids) == expected


def test_filters_nest(running: Services) -> None:
    wanted = SomeOf((AllOf((AnyOf("colour", ("red",)), Range("price", 20, 60))), NoneOf((Range("price", 5, None),))))
    answer = running.stub.GetCandidates(Ask(user_id="nobody", k=2000, filter=filter_message(wanted)), timeout=10)
    rows = running.world.dataset.items.to_pylist()
    expected = {r["item_id"] for r in rows if (r["colour"] == "red" and 20 <= r["price"] <= 60) or not r["price"] >= 5}
    assert set(answer.item_ids) == expected
    assert 0 < len(expected) < len(rows)


@pytest.mark.parametrize("budget", [{"visit_budget": 1}, {"visit_budget": 2**64 - 1}, {"time_budget_us": 2**32 - 1}])
def test_a_budget_ends_the_search_and_the_answer_says_so(running: Services, budget: dict[str, int]) -> None:
    ends = budget == {"visit_budget": 1}
    answer = running.stub.GetCandidates(Ask(user_id="u1", k=5, allow_seen=True, **budget), timeout=10)
    assert answer.truncated == ends
    assert 0 < len(answer.item_ids) <= 5
    whole = running.stub.GetCandidates(Ask(user_id="u1", k=2000, allow_seen=True), timeout=10)
    assert not whole.truncated
    scores = dict(zip(whole.item_ids, whole.scores, strict=True))
    assert np.allclose([scores[item] for item in answer.item_ids], answer.scores, atol=5e-5)
    requests = [Ask(user_id="u1", k=5, **more) for more in ({}, budget, {})]
    batch = running.stub.BatchGetCandidates(candidates_pb2.BatchGetCandidatesRequest(requests=requests), timeout=20)
    assert [one.truncated for one in batch.answers] == [False, ends, False]


def test_an_item_on_the_list_of_takedowns_is_answered_no_longer(world: World, tmp_path: Path) -> None:
    path = tmp_path / "takedowns.txt"
    path.write_text("no-such-item\n")
    with services(world, tmp_path / "run", takedowns=path) as running:
        whole = Ask(user_id="nobody", k=2000)
        everything = set(running.stub.GetCandidates(whole, timeout=10).item_ids)
        gone = sorted(everything)[:7]  # of both shards
        partial = tmp_path / "takedowns.partial"
        partial.write_text("no-such-item\n" + "\n".join(gone))
        partial.replace(path)
        by = time.monotonic() + 10
        while set(running.stub.GetCandidates(whole, timeout=10).item_ids) != everything - {*gone}:
            assert time.monotonic() < by
        red = Ask(user_id="nobody", k=2000, filter=filter_message(AnyOf("colour", ("red",))))
        assert not {*gone} & {*running.stub.GetCandidates(red, timeout=10).item_ids}
        client = AnnClient(MODEL)
        for host in running.hosts:
            client.load(host.address, world.builds[1])
            client.activate(host.address, world.builds[1])
        answer = running.stub.GetCandidates(whole, timeout=10)
        assert [version.version for version in answer.versions] == [2]
        assert set(answer.item_ids) == everything - {*gone}
        client.close()


def test_a_list_of_takedowns_that_can_not_be_read_keeps_a_host_from_starting(world: World, tmp_path: Path) -> None:
    host = AnnHost("h", MODEL, 0, world.store)
    service = AnnService(host, CONFIG, address="127.0.0.1:0", run_folder=tmp_path, takedowns=tmp_path / "nowhere.txt")
    with pytest.raises(ConfigError, match=r"nowhere\.txt: the list of takedowns can't be read"):
        service.start(world.builds[0])
    assert not answers(service.address)
    service._server.stop(0)
