from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from retrieval.backoff import Backoff
from retrieval.errors import ArtifactError
from retrieval.serving.core import held_towers
from retrieval.serving.core.held_towers import HeldTowers
from retrieval.serving.core.planning import Space
from retrieval.towers.user_input import UserInput
from retrieval.types import ModelVersion, SpaceId


def version(number: int) -> ModelVersion:
    return ModelVersion("m", number)


def space(number: int) -> Space:
    return version(number), SpaceId(f"space-{number}")


class StandIn:
    context_columns = profile_columns = frozenset[str]()

    def __init__(self, of: ModelVersion) -> None:
        self.version = of
        self.space_id = SpaceId(f"space-{of.version}")

    def embed(self, inputs: Sequence[UserInput]) -> np.ndarray:
        return np.zeros((len(inputs), 2), np.float32)


def until(condition: Callable[[], bool]) -> None:
    by = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < by
        time.sleep(0.005)


@pytest.fixture
def towers() -> HeldTowers:
    made = HeldTowers(StandIn, latest=2)
    made.start(lambda: None)
    return made


def ready(towers: HeldTowers) -> set[int]:
    return {held.version.version for held in towers.held() if held.tower is not None}


def test_what_hosts_need_and_the_latest_are_loaded(towers: HeldTowers) -> None:
    towers.want([space(3)], [version(9), version(8), version(7)])
    until(lambda: ready(towers) == {3, 8, 9})
    towers.stop()


def test_what_a_host_needs_is_never_let_go_however_old(towers: HeldTowers) -> None:
    towers.want([space(1), space(2), space(3), space(4)], [version(9), version(8)])
    until(lambda: ready(towers) == {1, 2, 3, 4, 8, 9})
    towers.want([space(1)], [version(9), version(8)])
    until(lambda: ready(towers) == {1, 8, 9})
    towers.stop()


def test_losing_sight_of_the_hosts_keeps_the_latest(towers: HeldTowers) -> None:
    towers.want([space(1), space(2), space(3)], [])
    until(lambda: ready(towers) == {1, 2, 3})
    towers.want([], [])
    until(lambda: ready(towers) == {2, 3})
    towers.stop()


def test_a_tower_of_another_space_is_not_given_out(towers: HeldTowers) -> None:
    towers.want([space(1)], [])
    until(lambda: towers.ready(space(1)))
    assert towers.get((version(1), SpaceId("another"))) is None
    towers.stop()


def test_a_damaged_tower_is_said_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_towers, "_RETRIES", Backoff(first_s=0.01, longest_s=0.02))
    monkeypatch.setattr(held_towers, "_LOOK_S", 0.01)
    damaged = True

    def load(of: ModelVersion) -> StandIn:
        if of.version == 2 and damaged:
            raise ArtifactError("model.onnx: damaged")
        return StandIn(of)

    towers = HeldTowers(load, latest=2)
    towers.start(lambda: None)
    towers.want([space(1), space(2)], [])
    until(lambda: any("model.onnx" in held.error for held in towers.held()))
    assert towers.ready(space(1))
    damaged = False
    until(lambda: towers.ready(space(2)))
    towers.stop()
