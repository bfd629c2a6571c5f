"""What a mismatch of versions would cost: nothing ever answers across versions, and this is what that is worth."""

from __future__ import annotations

from retrieval.rollout.gates.facts import Crossing, ServingFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: ServingFacts) -> Measured | Unmeasured:
    """The larger share of HR@K that is lost, of both directions."""
    skew = facts.skew
    if skew is None:
        return Unmeasured(facts.unmeasured["skew"])
    found = [one for one in skew.crossings if one.matched > 0]
    if not found:
        return Unmeasured(f"no target of {skew.targets:,} is found by any version, so none could be lost")
    said = "; ".join(
        f"on the index of {one.items} with users of {one.users} HR@{skew.k} would be {one.crossed:.4f} in place of "
        f"{one.matched:.4f}, lists {one.overlap:.0%} the same"
        for one in found
    )
    return Measured(
        max(map(_cost, found)),
        f"{said} ({skew.targets:,} targets)",
        "hosts and candidate services keep versions apart by themselves; whatever else searches these indexes with "
        "vectors of its own must not do so while this is rolled out",
    )


def _cost(one: Crossing) -> float:
    return 1 - one.crossed / one.matched


GATE = Gate(
    stage="serving",
    about="Share of HR@K that would be lost if users of the live version met the build's items, or the other way "
    "round, at most.",
    sense="at most",
    threshold=0.1,
    measure=measure,
)
