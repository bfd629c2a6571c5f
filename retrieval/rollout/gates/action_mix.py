"""What users did: another mix of actions means another surface, a bot, or a broken client."""

from __future__ import annotations

from retrieval.rollout.gates.drift import ACTION, furthest
from retrieval.rollout.gates.gate import Gate

GATE = Gate(
    stage="data",
    about="Population stability index of the actions, the newest window against those before and against that of the "
    "live version's log, at most.",
    sense="at most",
    threshold=0.25,
    measure=lambda facts: furthest(facts, only=(ACTION,)),
)
