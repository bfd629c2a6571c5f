"""The same user, item and action again and again: a bot that clicks, or a source that sends everything twice."""

from __future__ import annotations

from retrieval.rollout.gates.facts import DataFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: DataFacts) -> Measured | Unmeasured:
    """Share of events that repeat another of the newest window, less the share that is usual."""
    if facts.repeated is None or facts.usual_repeated is None:
        return Unmeasured("too few events to tell how many usually repeat another")
    more = facts.repeated - facts.usual_repeated
    return Measured(
        more,
        f"{facts.repeated:.1%} of the events of the last {facts.window_hours:g} h repeat an earlier one of the same "
        f"user, item and action, where {facts.usual_repeated:.1%} are usual",
        "a bot clicks, or a source sends its events more than once: see which users and items they are of",
    )


GATE = Gate(
    stage="data",
    about="Share of the newest window's events that repeat an earlier one of the same user, item and action in it, "
    "less the median of the windows before, at most.",
    sense="at most",
    threshold=0.1,
    measure=measure,
)
