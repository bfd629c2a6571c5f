"""Recent requests, asked of the build and of the live one: answers that share nothing are of another kind."""

from __future__ import annotations

from retrieval.rollout.gates.facts import ServingFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: ServingFacts) -> Measured | Unmeasured:
    """Share of the live answers' items that the build answers, too."""
    replay = facts.replay
    if replay is None:
        return Unmeasured(facts.unmeasured["replay"])
    return Measured(
        replay.overlap,
        f"of the {replay.k} best that {facts.live} answers to {replay.requests:,} recent requests, {facts.build} "
        f"answers {replay.overlap:.1%}, too",
        "see what became another: the corpus, the features, the log",
    )


GATE = Gate(
    stage="serving",
    about="Share of the items that the live build answers to recent requests and the build answers, too, at least.",
    sense="at least",
    threshold=0.05,
    measure=measure,
)
