"""Rows that could not be used: many of them mean that something writes the log in another way."""

from __future__ import annotations

from retrieval.rollout.gates.facts import DataFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured

_IN_FUTURE = "timestamp is in the future"


def measure(facts: DataFacts) -> Measured | Unmeasured:
    """Share of the rows that were refused."""
    refused = sum(facts.rejected.values())
    share = refused / max(facts.rows, 1)
    reasons = ", ".join(f"{count:,} × {reason}" for reason, count in sorted(facts.rejected.items())) or "none"
    return Measured(
        share,
        f"{refused:,} of {facts.rows:,} rows ({share:.1%}) can't be used: {reasons}",
        "`retrieval data validate` writes them to a file"
        + ("; times in the future come of a finer unit than data.timestamp_unit" if _IN_FUTURE in reasons else ""),
    )


GATE = Gate(
    stage="data",
    about="Share of the log's rows that can't be used, at most.",
    sense="at most",
    threshold=0.02,
    measure=measure,
)
