"""What a gate is: one figure, measured from plain facts, held against a threshold that the settings may change.

A gate is a file that makes one `GATE`, and a line in `gates/__init__.py`; its threshold is then a key of `[gates]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from retrieval.rollout.gates.facts import BuildFacts, DataFacts, ModelFacts, SchemaFacts, ServingFacts

Stage = Literal["schema", "data", "model", "build", "serving"]
Facts = SchemaFacts | DataFacts | ModelFacts | BuildFacts | ServingFacts


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure, what it means for people, and where to look if it isn't good enough."""

    value: float
    fact: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """There is nothing to hold against the threshold, and why; the gate is passed by."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One check. `measure` is given the facts of its stage."""

    stage: Stage
    about: str
    """What is measured, as the settings' reference says it."""
    sense: Literal["at least", "at most"]
    threshold: float
    """Unless the settings say otherwise."""
    measure: Callable[[Any], Measured | Unmeasured]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one gate."""

    gate: str
    outcome: Literal["passed", "warned", "refused", "skipped"]
    measured: float | None
    threshold: float | None
    sentence: str


def judge(name: str, gate: Gate, threshold: float, facts: Facts, *, warns: bool = False) -> Verdict:
    """Hold a gate's figure against a threshold. What is no number is refused; a gate that `warns` refuses nothing."""
    found = gate.measure(facts)
    if isinstance(found, Unmeasured):
        return Verdict(gate=name, outcome="skipped", measured=None, threshold=threshold, sentence=found.why)
    good = found.value >= threshold if gate.sense == "at least" else found.value <= threshold
    passed = good and math.isfinite(found.value)
    return Verdict(
        gate=name,
        outcome="passed" if passed else "warned" if warns else "refused",
        measured=found.value if math.isfinite(found.value) else None,
        threshold=threshold,
        sentence=found.fact if passed else _refused(name, gate, threshold, found),
    )


def _refused(name: str, gate: Gate, threshold: float, found: Measured) -> str:
    advice = f"; {found.advice}" if found.advice else ""
    return f"{found.fact} ({found.value:.4g}, {gate.sense} {threshold:g} by gates.{name}){advice}"
