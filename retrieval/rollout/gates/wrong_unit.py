"""Times of 1970: what milliseconds or seconds look like that were read as a finer unit."""

from __future__ import annotations

from retrieval.rollout.gates.facts import DataFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: DataFacts) -> Measured | Unmeasured:
    """Share of the events whose time lies before 1973."""
    share = facts.before_1973 / max(facts.events, 1)
    return Measured(
        share,
        f"{facts.before_1973:,} of {facts.events:,} events ({share:.1%}) are dated before 1973",
        "their timestamps are of a coarser unit than the others', or than data.timestamp_unit: see what wrote the "
        "files that came last",
    )


GATE = Gate(
    stage="data",
    about="Share of the events dated before 1973, which is what a wrong unit of time makes of them, at most.",
    sense="at most",
    threshold=0.0001,
    measure=measure,
)
