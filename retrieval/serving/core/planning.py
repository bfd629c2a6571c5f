"""Which hosts a micro-batch asks: one of each shard, all of one model version where that can be had (rule 4)."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from retrieval.serving.core.metadata import ServedBuild
from retrieval.types import ModelVersion, SpaceId

Space = tuple[ModelVersion, SpaceId]
"""What a user tower must match: the version, and the space that it was exported with."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One host of a plan, and the build that it is believed to serve."""

    address: str
    build: ServedBuild

    @property
    def space(self) -> Space:
        """The version and space that this host's queries must be embedded in."""
        return self.build.version, self.build.space_id


@dataclass(frozen=True, slots=True)
class Plan:
    """One leg for each shard, in the order of the shards."""

    legs: tuple[Leg, ...]

    @property
    def one_space(self) -> bool:
        """Whether the scores of all legs can be compared."""
        return len({leg.space for leg in self.legs}) == 1


Replicas = tuple[tuple[Leg, ...], ...]


@dataclass(frozen=True, slots=True)
class Options:
    """What a fleet allows: sets of replicas, by shard, that have one space in common; else the sets that mix spaces."""

    common: tuple[Replicas, ...]
    mixed: tuple[Replicas, ...]
    missing: str
    """Why there is no option, for people; empty where there is one."""
    awaits_tower: bool = False
    """There is no option, but would be one if user towers were loaded."""

    def choose(self, prefer: Space | None = None, rng: Callable[[], float] = random.random) -> Plan | None:
        """A plan: of the space `prefer` where one is, else of a common space chosen by its share of the replicas.

        None where some shard has no host.
        """
        sets = self.common or self.mixed
        if not sets:
            return None
        if prefer is not None:
            sets = tuple(found for found in self.common if found[0][0].space == prefer) or sets
        chosen = sets[0] if len(sets) == 1 else sets[_weighted([_capacity(found) for found in sets], rng())]
        return Plan(tuple(legs[int(rng() * len(legs))] for legs in chosen))


def options(hosts: Mapping[str, ServedBuild], usable: Callable[[Space], bool]) -> Options:
    """What `hosts` (reachable ones, address → active build) allow; `usable` says whether a space has its tower."""
    by_shape: dict[int, list[Leg]] = defaultdict(list)
    for address, build in sorted(hosts.items()):
        leg = Leg(address, build)
        if usable(leg.space):
            by_shape[build.shards].append(leg)
    common: list[Replicas] = []
    mixed: list[Replicas] = []
    for shards, legs in by_shape.items():
        spaces = {leg.space for leg in legs}
        for space in sorted(spaces):
            covered = _cover([leg for leg in legs if leg.space == space], shards)
            if covered:
                common.append(covered)
        covered = _cover(legs, shards)
        if covered:
            mixed.append(covered)
    if common or mixed:
        return Options(tuple(common), tuple(mixed), "")
    awaits_tower = any(not usable((build.version, build.space_id)) for build in hosts.values())
    return Options((), (), _missing(hosts, by_shape), awaits_tower)


def _cover(legs: Sequence[Leg], shards: int) -> Replicas | None:
    """Legs by shard; None where a shard has none."""
    by_shard: list[list[Leg]] = [[] for _ in range(shards)]
    for leg in legs:
        by_shard[leg.build.shard].append(leg)
    return tuple(tuple(found) for found in by_shard) if all(by_shard) else None


def _capacity(found: Replicas) -> int:
    return min(len(legs) for legs in found)


def _weighted(weights: Sequence[int], at: float) -> int:
    left = at * sum(weights)
    for position, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return position
    return len(weights) - 1


def _missing(hosts: Mapping[str, ServedBuild], usable: Mapping[int, Sequence[Leg]]) -> str:
    if not hosts:
        return "no ANN host that can be reached serves a build"
    if not usable:
        needed = ", ".join(sorted({str(build.version) for build in hosts.values()}))
        return f"no user tower is loaded for what the ANN hosts serve ({needed})"
    gaps = []
    for shards, legs in sorted(usable.items()):
        absent = sorted(set(range(shards)) - {leg.build.shard for leg in legs})
        gaps.append(f"shard {', '.join(map(str, absent))} of {shards}")
    return f"no ANN host that can be reached serves {' or '.join(gaps)}"
