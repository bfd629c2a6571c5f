from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.serving.core.metadata import ServedBuild
from retrieval.serving.core.planning import options
from retrieval.types import BuildId, ModelVersion, SpaceId


def build(version: int, shard: int, shards: int = 2) -> ServedBuild:
    return ServedBuild(
        version=ModelVersion("m", version),
        space_id=SpaceId(f"space-{version}"),
        build=BuildId("m", version),
        shard=shard,
        shards=shards,
        dim=4,
        items=10,
        recall=1.0,
    )


def everything(_: object) -> bool:
    return True


def test_one_version_across_all_shards_is_preferred_to_a_mix() -> None:
    hosts = {"a": build(2, 0), "b": build(1, 0), "c": build(1, 1), "d": build(1, 1)}
    for _ in range(50):
        plan = options(hosts, everything).choose()
        assert plan is not None
        assert plan.one_space
        assert {leg.address for leg in plan.legs} <= {"b", "c", "d"}
        assert [leg.build.shard for leg in plan.legs] == [0, 1]


def test_traffic_follows_the_number_of_replicas() -> None:
    hosts = {f"{v}{s}{r}": build(v, s) for v, replicas in ((1, 3), (2, 1)) for s in range(2) for r in range(replicas)}
    rng = random.Random(1)
    found = options(hosts, everything)
    chosen = Counter(plan.legs[0].build.version.version for _ in range(2000) if (plan := found.choose(rng=rng.random)))
    assert 1300 < chosen[1] < 1700


def test_without_a_common_version_shards_are_mixed() -> None:
    plan = options({"a": build(2, 0), "b": build(1, 1)}, everything).choose()
    assert plan is not None
    assert not plan.one_space


def test_a_version_that_was_begun_with_is_kept_to() -> None:
    hosts = {f"{v}{s}": build(v, s) for v in (1, 2) for s in (0, 1)}
    found = options(hosts, everything)
    for _ in range(20):
        plan = found.choose((ModelVersion("m", 1), SpaceId("space-1")))
        assert plan is not None
        assert {leg.build.version.version for leg in plan.legs} == {1}


def test_versions_without_a_tower_are_not_planned_with() -> None:
    hosts = {f"{v}{s}": build(v, s) for v in (1, 2) for s in (0, 1)}
    found = options(hosts, lambda space: space[0].version == 1)
    assert {leg.build.version.version for leg in found.choose().legs} == {1}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("hosts", "usable", "said", "awaits"),
    [
        ({}, True, "no ANN host", False),
        ({"a": build(1, 0)}, True, "shard 1 of 2", False),
        ({"a": build(1, 0), "b": build(1, 1)}, False, "no user tower is loaded .*m@1", True),
    ],
)
def test_what_is_missing_is_said(hosts: dict[str, ServedBuild], usable: bool, said: str, awaits: bool) -> None:
    found = options(hosts, lambda _: usable)
    assert found.choose() is None
    assert re.search(said, found.missing)
    assert found.awaits_tower is awaits


def test_builds_of_another_number_of_shards_are_never_mixed() -> None:
    hosts = {"a": build(1, 0, 2), "b": build(2, 1, 4), "c": build(2, 0, 4)}
    assert options(hosts, everything).choose() is None
    hosts["d"] = build(1, 1, 2)
    plan = options(hosts, everything).choose()
    assert plan is not None
    assert {leg.build.shards for leg in plan.legs} == {2}


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2)), max_size=12), st.randoms(use_true_random=False))
def test_a_plan_covers_every_shard_once(served: list[tuple[int, int]], rng: random.Random) -> None:
    hosts = {f"h{i}": build(version, shard, 3) for i, (version, shard) in enumerate(served)}
    plan = options(hosts, everything).choose(rng=rng.random)
    covered = {shard for _, shard in served} == {0, 1, 2}
    assert (plan is not None) == covered
    if plan is None:
        return
    assert [leg.build.shard for leg in plan.legs] == [0, 1, 2]
    assert all(hosts[leg.address] == leg.build for leg in plan.legs)
    possible = any(all((v, s) in served for s in range(3)) for v in (1, 2, 3))
    assert plan.one_space == possible
