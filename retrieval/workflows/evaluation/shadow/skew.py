"""What it would cost if users of one version met items of another, which version synchronisation never lets happen.

By exact search over each index, once with its own version's user vectors, once with the other's. T targets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from retrieval.arrays import Ints, Vectors
from retrieval.rollout.gates.facts import Crossing, Skew
from retrieval.towers.runtime import UserTower
from retrieval.workflows.evaluation.evaluate import EvaluationSetup, user_vectors
from retrieval.workflows.evaluation.served.exact import Asked, Exact, exact_search
from retrieval.workflows.evaluation.served.shards import BuildItems


@dataclass(frozen=True)
class Half:
    """A version's user tower, and what its build holds."""

    tower: UserTower
    held: BuildItems


def measure_skew(setup: EvaluationSetup, rows: Ints, ours: Half, theirs: Half) -> Skew:
    """For the targets int64 [T]. Towers of different widths can't meet: nothing is found then."""
    vectors = [user_vectors(setup.dataset, half.tower, rows) for half in (ours, theirs)]
    crossings = [
        _crossed(setup, rows, ours, theirs, vectors[0], vectors[1]),
        _crossed(setup, rows, theirs, ours, vectors[1], vectors[0]),
    ]
    return Skew(k=setup.config.ks[0], targets=len(rows), crossings=tuple(crossings))


def _crossed(  # noqa: PLR0917  # two of everything
    setup: EvaluationSetup, rows: Ints, own: Half, other: Half, right: Vectors, wrong: Vectors
) -> Crossing:
    search = _search_of(setup, rows, own.held)
    matched = search(right)
    names = {"items": str(own.tower.version), "users": str(other.tower.version)}
    hit_rate = float(matched.hits.mean())
    if wrong.shape[-1] != right.shape[-1]:
        return Crossing(**names, matched=hit_rate, crossed=0.0, overlap=0.0)
    crossed = search(wrong)
    return Crossing(
        **names,
        matched=hit_rate,
        crossed=float(crossed.hits.mean()),
        overlap=_overlap(matched.lists, crossed.lists),
    )


def _search_of(setup: EvaluationSetup, rows: Ints, held: BuildItems) -> Callable[[Vectors], Exact]:
    """Exact search over a build with given user vectors [T, D], or [T, E, D]."""
    histories = setup.dataset.histories
    vectors = np.zeros((len(histories.item_ids), held.vectors.shape[1]), np.float32)
    vectors[held.rows] = held.vectors
    inside = np.zeros(len(vectors), np.bool_)
    inside[held.rows] = True
    at_us = np.full(len(rows), held.at_us)

    def search(users: Vectors) -> Exact:
        asked = Asked(histories, rows, users, setup.config.ks[0], setup.corpus, setup.config.block_mb)
        return exact_search(asked, at_us, lambda _: inside, lambda _: vectors)

    return search


def _overlap(first: Ints, second: Ints) -> float:
    """Share of the items of lists int64 [T, k], -1 for none, that stand in the others, too."""
    both = sum(len(np.intersect1d(one[one >= 0], two[two >= 0])) for one, two in zip(first, second, strict=True))
    return both / max(int((first >= 0).sum()), 1)
