"""The loss of every epoch must be a number."""

from __future__ import annotations

import math

from retrieval.rollout.gates.facts import ModelFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: ModelFacts) -> Measured | Unmeasured:
    """Epochs without a loss that is a number."""
    bad = sum(loss is None or not math.isfinite(loss) for loss in facts.losses)
    return Measured(
        bad,
        f"the loss of {bad} of {len(facts.losses)} epochs was no number",
        "look for values without measure in the features, or lower training.learning_rate",
    )


GATE = Gate(
    stage="model",
    about="Epochs whose mean loss is no number, at most.",
    sense="at most",
    threshold=0.0,
    measure=measure,
)
