"""Better on the whole can be worse for some: new users, one country, items that just came."""

from __future__ import annotations

from retrieval.rollout.gates.facts import ModelFacts, SliceGap
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: ModelFacts) -> Measured | Unmeasured:
    """The lowest upper bound of a slice's difference to the live version, as a share of the live version's figure."""
    if not facts.slices:
        return Unmeasured("no slice has enough targets that were measured of a live version, too")
    found = [one for one in facts.slices if one.theirs > 0]
    if not found:
        return Unmeasured(f"the live version finds nothing in any of {len(facts.slices)} slices, so none can be worse")
    worst = min(found, key=_share)
    gap = worst.ours - worst.theirs
    return Measured(
        _share(worst),
        f"of {len(found)} slices, {worst.column} {worst.value} has lost most for sure, or gained least: {worst.metric} "
        f"{worst.ours:.4f}, live {worst.theirs:.4f} on {worst.targets:,} targets: {gap:+.4f}, at best "
        f"{worst.high:+.4f} or {_share(worst):+.1%}, by bounds that hold for all slices together",
        "see what these targets have in common: `retrieval evaluate --against` shows every slice",
    )


def _share(one: SliceGap) -> float:
    return one.high / one.theirs


GATE = Gate(
    stage="model",
    about="NDCG@K against the live version within each slice of retrain.slice_targets targets or more (new and known "
    "users and items, history lengths, evaluation.slices): the lowest of the upper bounds of the paired differences, "
    "as a share of the live version's, at least.",
    sense="at least",
    threshold=-0.05,
    measure=measure,
)
