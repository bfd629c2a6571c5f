"""What the index finds of what exact search finds."""

from __future__ import annotations

from retrieval.rollout.gates.facts import BuildFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: BuildFacts) -> Measured | Unmeasured:
    """The lowest measured recall of a shard."""
    if facts.recall is None:
        return Unmeasured(f"{facts.build} was built without queries to measure recall with")
    return Measured(
        facts.recall,
        f"{facts.build} finds {facts.recall:.1%} of what exact search finds",
        "raise index.ef_search or index.ef_construction",
    )


GATE = Gate(
    stage="build",
    about="Recall of the index against exact search, at least.",
    sense="at least",
    threshold=0.95,
    measure=measure,
)
