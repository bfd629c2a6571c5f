"""A version with two vectors a user over real sockets: answers are the best k by the nearest vector, to the item."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from retrieval.towers.runtime import load_user_tower
from retrieval.v1 import candidates_pb2
from retrieval.workflows.demo.check import read_item_vectors
from tests.chaos.oracle import Oracle, Seen
from tests.integration.services import Services, history_of, services
from tests.serving_world import World, make_world, some_users

AT = 1_710_000_000_000_000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    world = make_world(tmp_path_factory.mktemp("interests"), versions=1, interests=(2,), ann="exact")
    with services(world, tmp_path_factory.mktemp("run")) as found:
        yield found


def best(world: World, user: str, k: int) -> list[tuple[str, float]]:
    """By brute force over the arrays of the build: the largest inner product with any vector, history left out."""
    tower = load_user_tower(world.store, world.versions[0].version)
    vectors = tower.embed([Oracle(world.store, world.dataset).user_input(user, AT)])[0]
    assert vectors.shape == (2, tower.dim)
    seen = set(history_of(world, user))
    items = {
        item: vector for item, vector in read_item_vectors(world.store, world.builds[0]).items() if item not in seen
    }
    scores = (np.stack(list(items.values())) @ vectors.T).max(1)
    order = np.argsort(-scores)[:k]
    names = list(items)
    return [(names[i], float(scores[i])) for i in order]


@pytest.mark.parametrize("k", [1, 10, 200])
def test_answers_are_the_best_by_the_nearest_vector(running: Services, k: int) -> None:
    request = candidates_pb2.BatchGetCandidatesRequest(
        requests=[
            candidates_pb2.GetCandidatesRequest(user_id=user, k=k, at=AT)
            for user in list(some_users(running.world))[:20]
        ]
    )
    answers = running.stub.BatchGetCandidates(request, timeout=20).answers
    oracle = Oracle(running.world.store, running.world.dataset)
    for asked, answer in zip(request.requests, answers, strict=True):
        expected = best(running.world, asked.user_id, k)
        assert list(answer.item_ids) == [item for item, _ in expected]
        np.testing.assert_allclose(answer.scores, [score for _, score in expected], atol=5e-5)
        versions = [(v.model, v.version, v.space_id, tuple(v.builds)) for v in answer.versions]
        seen = Seen(asked.user_id, AT, k, answer.item_ids, answer.scores, versions, answer.version_of_item, 1)
        assert oracle.problems(seen) == []
        assert answer.timings.batch_size >= 1
        assert answer.shards_answered == 2


def test_both_vectors_have_a_say(running: Services) -> None:
    """Else the test above would pass with one of them."""
    world = running.world
    tower = load_user_tower(world.store, world.versions[0].version)
    items = np.stack(list(read_item_vectors(world.store, world.builds[0]).values()))
    user = Oracle(world.store, world.dataset).user_input("u1", AT)
    vectors = tower.embed([user])[0]
    nearest = (items @ vectors.T).argmax(1)[np.argsort(-(items @ vectors.T).max(1))[:20]]
    assert set(nearest.tolist()) == {0, 1}
