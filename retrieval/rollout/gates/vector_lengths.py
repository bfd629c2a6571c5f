"""Item vectors have length 1, or shorter where the scale of unknown items says so; never longer, never nothing."""

from __future__ import annotations

from retrieval.rollout.gates.facts import ModelFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: ModelFacts) -> Measured | Unmeasured:
    """How far the lengths of known items' vectors are from 1."""
    off = max(abs(facts.vectors.longest - 1), abs(facts.vectors.shortest - 1))
    return Measured(
        off,
        f"vectors of known items are between {facts.vectors.shortest:.4g} and {facts.vectors.longest:.4g} long",
        "all should be 1: the towers, or their export, are broken",
    )


GATE = Gate(
    stage="model",
    about="How far the length of a known item's vector may be from 1, at most.",
    sense="at most",
    threshold=0.01,
    measure=measure,
)
