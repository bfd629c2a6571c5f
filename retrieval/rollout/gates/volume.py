"""Events of the newest window beside those of the windows before: half of them missing is no normal day."""

from __future__ import annotations

from retrieval.rollout.gates.facts import DataFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: DataFacts) -> Measured | Unmeasured:
    """Events of the newest window over the median of those before."""
    if not facts.usual_events:
        return Unmeasured(f"the log is too short to tell how many events {facts.window_hours:g} h usually bring")
    share = facts.window_events / facts.usual_events
    return Measured(
        share,
        f"the last {facts.window_hours:g} h brought {facts.window_events:,} events, {share:.0%} of the usual "
        f"{facts.usual_events:,.0f}",
        "see whether a source of events, or a part of the files, is missing",
    )


GATE = Gate(
    stage="data",
    about="Events of the newest window (retrain.window_hours) as a share of the median of those before, at least.",
    sense="at least",
    threshold=0.6,
    measure=measure,
)
