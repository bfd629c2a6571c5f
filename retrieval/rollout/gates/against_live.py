"""NDCG on the newest events, the same ones for both: a version that is surely worse than the live one stays out."""

from __future__ import annotations

from retrieval.rollout.gates.gaps import best_case
from retrieval.rollout.gates.gate import Gate

GATE = Gate(
    stage="model",
    about="NDCG@K against the live version on the newest targets: the upper bound of the paired difference, as a share "
    "of the live version's, at least.",
    sense="at least",
    threshold=-0.02,
    measure=lambda facts: best_case(facts, "live", "ndcg"),
)
