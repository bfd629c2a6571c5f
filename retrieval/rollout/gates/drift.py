"""What the gates of drift share: the column whose values changed most, and the sentence about it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from retrieval.rollout.gates.facts import DataFacts
from retrieval.rollout.gates.gate import Measured, Unmeasured

ACTION = "action"


def furthest(facts: DataFacts, *, only: Collection[str] = (), without: Collection[str] = ()) -> Measured | Unmeasured:
    """The largest index of the columns, against the windows before or against the live version's newest window."""
    before = f"the {facts.window_hours:g} h windows before"
    found = [
        *_chosen(facts.drift, before, only, without),
        *_chosen(facts.live_drift, f"what {facts.live} learned from", only, without),
    ]
    if not found:
        return Unmeasured("there is nothing to compare the newest events with")
    value, column, against = max(found)
    return Measured(
        value,
        f"of all columns, {column} is spread most unlike {against} in the newest {facts.window_hours:g} h: population "
        f"stability index {value:.2f}",
        "see what writes this column, and whether it is constant, empty or means something else now",
    )


def _chosen(
    drift: Mapping[str, float], against: str, only: Collection[str], without: Collection[str]
) -> list[tuple[float, str, str]]:
    return [
        (value, column, against)
        for column, value in drift.items()
        if column not in without and (not only or column in only)
    ]
