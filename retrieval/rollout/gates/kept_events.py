"""Events of the whole log beside those of the log that the live version learned from: a log only grows."""

from __future__ import annotations

from retrieval.rollout.gates.facts import DataFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: DataFacts) -> Measured | Unmeasured:
    """Events over those of the live version's log."""
    if not facts.live_events:
        return Unmeasured("nothing is known of the log of a live version")
    share = facts.events / facts.live_events
    return Measured(
        share,
        f"the log holds {facts.events:,} events, {share:.0%} of the {facts.live_events:,} that {facts.live} learned "
        "from",
        "if nobody took events away, files are missing",
    )


GATE = Gate(
    stage="data",
    about="Events of the log as a share of those that the live version's log held, at least.",
    sense="at least",
    threshold=0.8,
    measure=measure,
)
