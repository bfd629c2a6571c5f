"""The same by hit rate."""

from __future__ import annotations

from retrieval.rollout.gates.gaps import best_case
from retrieval.rollout.gates.gate import Gate

GATE = Gate(
    stage="model",
    about="HR@K against the live version, likewise, at least.",
    sense="at least",
    threshold=-0.02,
    measure=lambda facts: best_case(facts, "live", "hr"),
)
