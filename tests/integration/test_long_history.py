"""A request's own history of 16,000 events, and a stored one, over real gRPC."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from retrieval.features import FeatureSpec
from retrieval.serving.users.store import UserStore
from retrieval.v1 import candidates_pb2, user_pb2
from tests.integration.services import Services, services
from tests.serving_world import World, make_world
from tests.tiny import TINY_FEATURES

EVENTS, AT = 16_000, 1_710_000_000_000_000


@pytest.fixture(scope="module")
def long_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    spec = {**TINY_FEATURES.model_dump(), "history": {"length": 12, "older": 20_000}}
    return make_world(tmp_path_factory.mktemp("long"), versions=1, spec=FeatureSpec.model_validate(spec))


@pytest.fixture(scope="module")
def running(long_world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    store = UserStore.create(long_world.users, gib=1)
    for _ in store.load([("reader", user_pb2.UserRecord(history=history()))]):
        pass
    store.close()
    with services(long_world, tmp_path_factory.mktemp("run")) as found:
        yield found


def history(changed: int | None = None) -> user_pb2.History:
    """16,000 events of as many items, of which the corpus knows every hundredth."""
    items = [f"i{n // 100 % 60}" if n % 100 == 0 else f"other-{n}" for n in range(EVENTS)]
    if changed is not None:
        items[-changed] = "i100"
    times = (AT - np.arange(EVENTS, 0, -1) * 60_000_000).tolist()
    return user_pb2.History(item_ids=items, timestamps=times, actions=["click"] * EVENTS)


def ask(running: Services, **given: object) -> candidates_pb2.GetCandidatesResponse:
    return running.stub.GetCandidates(candidates_pb2.GetCandidatesRequest(k=20, at=AT, **given), timeout=20)  # type: ignore[arg-type]


def test_all_of_a_long_history_counts_and_none_of_it_comes_back(running: Services) -> None:
    own = ask(running, history=history())
    assert len(own.item_ids) == 20
    assert not set(own.item_ids) & set(history().item_ids)
    other = ask(running, history=history(changed=10_001))
    assert own.scores != other.scores
    stored = ask(running, user_id="reader")
    assert (stored.item_ids, stored.scores) == (own.item_ids, own.scores)
