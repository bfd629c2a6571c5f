"""What a list of popular items would reach: a version that is surely worse has learned nothing."""

from __future__ import annotations

from retrieval.rollout.gates.gaps import best_case
from retrieval.rollout.gates.gate import Gate

GATE = Gate(
    stage="model",
    about="NDCG@K against the popularity baseline, likewise, at least.",
    sense="at least",
    threshold=0.0,
    measure=lambda facts: best_case(facts, "popularity", "ndcg"),
)
