"""Requests that the live build answers must not come back empty."""

from __future__ import annotations

from retrieval.rollout.gates.facts import ServingFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: ServingFacts) -> Measured | Unmeasured:
    """Share of empty answers, less the live build's."""
    replay = facts.replay
    if replay is None:
        return Unmeasured(facts.unmeasured["replay"])
    return Measured(
        replay.empty - replay.live_empty,
        f"{replay.empty:.1%} of {replay.requests:,} recent requests get no item from {facts.build}, from {facts.live} "
        f"{replay.live_empty:.1%}",
        "see whether the build holds too few items, or too much counts as seen ([corpus])",
    )


GATE = Gate(
    stage="serving",
    about="Share of recent requests that the build answers with nothing, less the live build's share, at most.",
    sense="at most",
    threshold=0.01,
    measure=measure,
)
