"""Vectors that lie in few directions have collapsed: nearly all items then look alike."""

from __future__ import annotations

from retrieval.rollout.gates.facts import ModelFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured

_FEWEST = 8


def measure(facts: ModelFacts) -> Measured | Unmeasured:
    """Effective rank over the width, or over the number of items where that is less."""
    vectors = facts.vectors
    if vectors.count < _FEWEST:
        return Unmeasured(f"{vectors.count} known items are too few to tell")
    share = vectors.effective_rank / min(vectors.dim, vectors.count)
    return Measured(
        share,
        f"the vectors of {vectors.count:,} items fill {vectors.effective_rank:.1f} of {vectors.dim} dimensions",
        "they have collapsed: see towers.temperature and the popularity correction",
    )


GATE = Gate(
    stage="model",
    about="Effective rank of the item vectors as a share of their width, at least.",
    sense="at least",
    threshold=0.1,
    measure=measure,
)
