"""The tower that was trained, the one that was exported and the one that answers must be the same."""

from __future__ import annotations

from retrieval.rollout.gates.facts import ServingFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: ServingFacts) -> Measured | Unmeasured:
    """The largest difference of a number."""
    parity = facts.parity
    if parity is None:
        return Unmeasured(facts.unmeasured["parity"])
    return Measured(
        max(parity.exported, parity.served),
        f"for {parity.users} users of the log the exported user tower of {facts.version} differs from the trained one "
        f"by up to {parity.exported:.2g}, scores of answers by up to {parity.served:.2g}",
        "what answers is not what was trained: files of another version, features that are read otherwise, or rows of "
        "other items; train and export again",
    )


GATE = Gate(
    stage="serving",
    about="Largest difference between the trained user tower and the exported one (numbers of its vectors), or the "
    "served one (scores of answers), for the same users, at most.",
    sense="at most",
    threshold=0.001,
    measure=measure,
)
