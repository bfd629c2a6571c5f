"""What the settings name must be there: a column that was renamed would be read as missing everywhere."""

from __future__ import annotations

from retrieval.rollout.gates.facts import SchemaFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: SchemaFacts) -> Measured | Unmeasured:
    """Files and columns that are missing, or of no use."""
    return Measured(
        len(facts.faults),
        "; ".join(facts.faults) or "every file and column that the settings name is there",
        "see what writes the data, or name what is there now in retrieval.toml",
    )


GATE = Gate(
    stage="schema",
    about="Files and columns that the settings name and that are missing, or of a type of no use, at most.",
    sense="at most",
    threshold=0.0,
    measure=measure,
)
