"""A build that takes far longer to answer than the live one would break what waits for it."""

from __future__ import annotations

from retrieval.rollout.gates.facts import ServingFacts
from retrieval.rollout.gates.gate import Gate, Measured, Unmeasured

_UNNOTICED_MS = 5.0
"""Nobody notices less: a build is not refused for going from one millisecond to four."""


def measure(facts: ServingFacts) -> Measured | Unmeasured:
    """p99 of the latency over that of the live build, or over what nobody notices."""
    replay = facts.replay
    if replay is None:
        return Unmeasured(facts.unmeasured["replay"])
    return Measured(
        replay.p99_ms / max(replay.live_p99_ms, _UNNOTICED_MS),
        f"99 of 100 recent requests are answered from {facts.build} within {replay.p99_ms:.1f} ms, from {facts.live} "
        f"within {replay.live_p99_ms:.1f} ms",
        "a larger index, longer histories or a wider tower take longer; both were asked on this machine in turns",
    )


GATE = Gate(
    stage="serving",
    about="99th percentile of the time that recent requests take, over that of the live build (5 ms at least), asked "
    "in turns on this machine, at most.",
    sense="at most",
    threshold=3.0,
    measure=measure,
)
