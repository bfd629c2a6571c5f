"""Hours since the last event: a log that stopped growing teaches nothing new."""

from __future__ import annotations

from retrieval.rollout.gates.facts import DataFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured
from retrieval.types import HOUR_US


def measure(facts: DataFacts) -> Measured | Unmeasured:
    """Hours from the last event to the moment that the chain is run for."""
    hours = max(0, facts.as_of_us - facts.last_us) / HOUR_US
    return Measured(
        hours,
        f"the last event is {hours:,.1f} h old",
        "if events still happen, they don't arrive: see what feeds data.events; of an older log, give the moment with "
        "--as-of",
    )


GATE = Gate(
    stage="data",
    about="Hours since the last event, at most.",
    sense="at most",
    threshold=24.0,
    measure=measure,
)
