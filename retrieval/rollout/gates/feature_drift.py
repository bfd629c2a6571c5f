"""What users, items and requests are like: a column that is suddenly constant, empty or of other values."""

from __future__ import annotations

from retrieval.rollout.gates.drift import ACTION, furthest
from retrieval.rollout.gates.gate import Gate

GATE = Gate(
    stage="data",
    about="The same for each column that features read; the largest counts, at most.",
    sense="at most",
    threshold=0.25,
    measure=lambda facts: furthest(facts, without=(ACTION,)),
)
