"""What verification finds: damaged files, answers that changed, items that the tower encodes otherwise."""

from __future__ import annotations

from retrieval.rollout.gates.facts import BuildFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: BuildFacts) -> Measured | Unmeasured:
    """1 where verification found a fault, the first of them; else 0."""
    return Measured(
        float(bool(facts.fault)),
        f"{facts.build} is not sound: {facts.fault}" if facts.fault else f"{facts.build} is sound",
        "its rows are not those of its items, or a file was damaged: build it again (`retrieval index build`)",
    )


GATE = Gate(
    stage="build",
    about="Faults that verification found in the build (files, structure, canary answers, golden items), at most.",
    sense="at most",
    threshold=0.0,
    measure=measure,
)
