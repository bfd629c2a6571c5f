"""Items with the very same vector can't be told apart."""

from __future__ import annotations

from retrieval.rollout.gates.facts import ModelFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: ModelFacts) -> Measured | Unmeasured:
    """Share of vectors that another known item has, too."""
    share = facts.vectors.duplicates
    return Measured(
        share,
        f"{share:.1%} of the {facts.vectors.count:,} known items have a vector that another has, too",
        "they have collapsed, or their ids and features say the same of them",
    )


GATE = Gate(
    stage="model",
    about="Share of known items whose vector another has, too, at most.",
    sense="at most",
    threshold=0.05,
    measure=measure,
)
