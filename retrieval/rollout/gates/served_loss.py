"""What is served must be what was measured: the same targets, asked for as users would."""

from __future__ import annotations

from retrieval.rollout.gates.facts import ServingFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured


def measure(facts: ServingFacts) -> Measured | Unmeasured:
    """HR@K lost between the trained towers and the answer."""
    lost = facts.lost
    if lost is None:
        return Unmeasured(facts.unmeasured["lost"])
    where = f", {lost.lost:.4f} of it {lost.where}" if lost.where else ""
    return Measured(
        lost.lost,
        f"HR@{lost.k} of {facts.version} was measured as {lost.measured:.4f}, and is {lost.served:.4f} as "
        f"{facts.build} serves it ({lost.targets:,} targets){where}",
        "`retrieval evaluate --served` shows where it is lost, stage by stage",
    )


GATE = Gate(
    stage="serving",
    about="HR@K that is lost between the trained towers and the answers of the build, at any stage or in all, by more "
    "than chance, at most.",
    sense="at most",
    threshold=0.01,
    measure=measure,
)
