"""The index must hold the corpus that is declared, all of it and nothing else."""

from __future__ import annotations

from retrieval.rollout.gates.facts import BuildFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: BuildFacts) -> Measured | Unmeasured:
    """How far the number of items is off, as a share of the corpus."""
    off = abs(facts.items - facts.corpus_items) / max(facts.corpus_items, 1)
    return Measured(
        off,
        f"{facts.build} holds {facts.items:,} items, the declared corpus {facts.corpus_items:,}",
    )


GATE = Gate(
    stage="build",
    about="How far the build's number of items may be from that of the declared corpus, as a share, at most.",
    sense="at most",
    threshold=0.0,
    measure=measure,
)
