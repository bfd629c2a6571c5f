"""How far above popularity: where labels were mixed up there is nothing personal to learn, for nobody.

The live version is no help then, for it fails on such targets, too; what it was worth when it was new is the measure.
"""

from __future__ import annotations

from retrieval.rollout.gates.facts import ModelFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured

_LEAST = 0.05
"""A lift below this is none to be kept."""


def measure(facts: ModelFacts) -> Measured | Unmeasured:
    """The lift over popularity, at best, as a share of the live version's when that was new."""
    gap = facts.gaps.get("popularity", {}).get("ndcg")
    if gap is None or facts.live_lift is None:
        return Unmeasured("nothing is known of how far a live version was above popularity when it was new")
    if facts.live_lift < _LEAST or gap.theirs <= 0:
        return Unmeasured(
            f"the live version was {facts.live_lift:+.0%} against popularity when it was new: no lift to keep"
        )
    lift, best = gap.ours / gap.theirs - 1, gap.high / gap.theirs
    return Measured(
        best / facts.live_lift,
        f"{facts.version} has {gap.metric} {gap.ours:.4f}, popularity {gap.theirs:.4f} on {gap.targets:,} targets "
        f"({gap.slice}): {lift:+.0%}, at best {best:+.0%}, where the live version had {facts.live_lift:+.0%} when it "
        "was new",
        "little in these events is of one user rather than of all: see whether users and items still belong together "
        "in the newest events (a join gone wrong, ids mixed up)",
    )


GATE = Gate(
    stage="model",
    about="How far NDCG@K lies above popularity's, by the upper bound, as a share of how far the live version's did "
    "when it was new, at least.",
    sense="at least",
    threshold=0.3,
    measure=measure,
)
