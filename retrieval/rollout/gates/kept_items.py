"""An index that lost many of the items that are served is no normal one."""

from __future__ import annotations

from retrieval.rollout.gates.facts import BuildFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: BuildFacts) -> Measured | Unmeasured:
    """Items over those of the build that is served."""
    if not facts.live_items:
        return Unmeasured("no build is served yet")
    share = facts.items / facts.live_items
    return Measured(
        share,
        f"{facts.build} holds {facts.items:,} items, {share:.0%} of the {facts.live_items:,} of {facts.live}",
        "see whether items or events are missing, or [corpus] declares less",
    )


GATE = Gate(
    stage="build",
    about="Items of the build as a share of those of the build that is served, at least.",
    sense="at least",
    threshold=0.5,
    measure=measure,
)
