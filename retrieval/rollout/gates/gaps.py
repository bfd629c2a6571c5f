"""What the gates share that hold a version against another: how much better it could be, at best."""

from __future__ import annotations

from retrieval.rollout.gates.facts import ModelFacts
from retrieval.rollout.gates.gate import Measured, Unmeasured


def best_case(facts: ModelFacts, whom: str, metric: str) -> Measured | Unmeasured:
    """The upper bound of the difference, as a share of the other's figure: below 0 where ours is surely worse."""
    gap = facts.gaps.get(whom, {}).get(metric)
    if gap is None:
        return Unmeasured(f"there is no {whom} version to compare with" if whom == "live" else f"{whom} isn't measured")
    share = gap.high / gap.theirs if gap.theirs > 0 else max(gap.high, 0.0)
    return Measured(
        share,
        f"{facts.version} has {gap.metric} {gap.ours:.4f}, {gap.other} {gap.theirs:.4f} on {gap.targets:,} targets "
        f"({gap.slice}): {gap.ours - gap.theirs:+.4f}, in 95 of 100 draws of users between {gap.low:+.4f} and "
        f"{gap.high:+.4f}, at best {share:+.1%}",
        "compare the two with `retrieval evaluate --against`, and the newest events with those before",
    )
