"""The same users through the trained, the exported and the served tower: how far apart what they give is.

What is served is seen in the scores of answers: the inner product of a user's vector with the build's item vectors.
G golden users, D width, E interests.
"""

from __future__ import annotations

import numpy as np

from retrieval.arrays import Vectors
from retrieval.rollout.gates.facts import Parity
from retrieval.towers.runtime import UserTower
from retrieval.v1 import candidates_pb2
from retrieval.workflows.evaluation.golden_users import GoldenUsers
from retrieval.workflows.evaluation.served.shards import BuildItems
from retrieval.workflows.evaluation.shadow.answers import Asking, answered
from retrieval.workflows.evaluation.user_inputs import inputs_at

_OPPOSITE = 2.0
"""As far as numbers of two unit vectors can be apart: what a tower of another width counts as."""


def measure_parity(asking: Asking, golden: GoldenUsers, tower: UserTower, held: BuildItems, address: str) -> Parity:
    """Embed golden users with the stored tower, and ask the services at `address` for them, which serve this build."""
    given = tower.embed(inputs_at(asking.dataset, tower.features, golden.rows))
    requests = asking.requests(tower.features, golden.rows)
    served = [
        _off(asking, answer, vector, held)
        for answer, vector in zip(answered(address, requests), golden.vectors, strict=True)
    ]
    return Parity(
        users=len(golden.rows),
        exported=_largest(np.abs(given - golden.vectors)) if given.shape == golden.vectors.shape else _OPPOSITE,
        served=max(served, default=0.0),
    )


def _off(asking: Asking, answer: candidates_pb2.GetCandidatesResponse, vector: Vectors, held: BuildItems) -> float:
    """How far an answer's scores are from what a user's vector float32 [D], or [E, D], gives with the build's items."""
    rows = asking.dataset.histories.item_rows(list(answer.item_ids))
    known = rows >= 0
    order = np.argsort(held.rows)
    places = order[np.searchsorted(held.rows, rows[known], sorter=order)]
    scores = (np.atleast_2d(vector) @ held.vectors[places].T).max(axis=0)
    return _largest(np.abs(scores - np.asarray(answer.scores, np.float32)[known]))


def _largest(differences: Vectors) -> float:
    return float(differences.max()) if differences.size else 0.0
