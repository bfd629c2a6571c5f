"""A version that shows far fewer of the items than the live one has narrowed."""

from __future__ import annotations

from retrieval.rollout.gates.facts import ModelFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: ModelFacts) -> Measured | Unmeasured:
    """Coverage over that of the live version."""
    if facts.coverage is None or not facts.live_coverage:
        return Unmeasured("there is no live version to compare with")
    share = facts.coverage / facts.live_coverage
    return Measured(
        share,
        f"lists of {facts.version} show {facts.coverage:.1%} of the items, those of the live version "
        f"{facts.live_coverage:.1%}",
    )


GATE = Gate(
    stage="model",
    about="Share of the items that lists show, as a share of the live version's, at least.",
    sense="at least",
    threshold=0.5,
    measure=measure,
)
