"""What the chain would do now, and why: which input of a step is another than when it was last done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from retrieval.registry import Registry, StepRow
from retrieval.workflows.retrain.chain import chosen_steps, moment_of, surroundings
from retrieval.workflows.retrain.events import STEP as EVENTS
from retrieval.workflows.retrain.step import Addressed, Step, Surroundings, Values, addressed
from retrieval.workflows.workspace import Workspace

_MOST = 4
"""Changes that are named, of one step."""
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """What would become of a step, and why.

    done      it was done with just these inputs, and what it made is there
    runs      it would be done
    follows   it would be done if what it depends on comes out otherwise than before
    refused   a gate refused with just these inputs
    """

    name: str
    state: Literal["done", "runs", "follows", "refused"]
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done for a moment (µs)."""

    as_of_us: int
    steps: tuple[PlannedStep, ...]

    @property
    def nothing_to_do(self) -> bool:
        """Whether all of it was done."""
        return all(step.state == "done" for step in self.steps)


class _NotYetError(Exception):
    """An input is made by a step that isn't done."""


class _Known(dict[str, Values]):
    """Outputs of steps that are done."""

    def __missing__(self, step: str) -> Values:
        raise _NotYetError(step)


def plan_retrain(workspace: Workspace, *, as_of_us: int | None = None) -> Plan:
    """What `run_retrain` would do; changes nothing. Raises DataError, ConfigError, UnavailableError."""
    with closing(workspace.registry()) as registry:
        moment = moment_of(registry, workspace.model, as_of_us)
        around = surroundings(workspace, registry, moment)
        known = _Known()
        return Plan(moment, tuple(_planned(step, around, known) for step in chosen_steps(around.workspace)))


def _planned(step: Step, around: Surroundings, known: _Known) -> PlannedStep:
    try:
        inputs = addressed(step, around, known)
    except _NotYetError as waited:
        return PlannedStep(step.name, "follows", f"after {waited}")
    found = around.registry.retraining.find_step(around.workspace.model, step.name, inputs.address)
    if found is not None and found.state == "refused":
        known[step.name] = found.output
        return PlannedStep(step.name, "refused", found.note)
    if found is not None and found.state == "done":
        if step.holds(around, found.output):
            known[step.name] = found.output
            return PlannedStep(step.name, "done", "with just these inputs")
        return PlannedStep(step.name, "runs", "what it made is gone")
    if step is EVENTS:  # hashing changes nothing, and says whether the rest has anything to do
        known[step.name] = step.run(around, known).output
    return PlannedStep(step.name, "runs", _why(step, found, inputs, around.registry, around.workspace.model))


def _why(step: Step, found: StepRow | None, inputs: Addressed, registry: Registry, model: str) -> str:
    if found is not None:
        return "it was interrupted" if found.state == "running" else f"it failed: {found.note}"
    last = next((row for row in registry.retraining.steps(model, step.name) if row.state in {"done", "refused"}), None)
    if last is None:
        return "it was never done"
    changes = list(_changes(dict(_flat(last.inputs)), dict(_flat(inputs.inputs))))
    more = f", and {len(changes) - _MOST} more" if len(changes) > _MOST else ""
    return ", ".join(changes[:_MOST]) + more


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key in (*now, *(key for key in before if key not in now)):
        if key not in before:
            yield f"{key} is new"
        elif key not in now:
            yield f"{key} is gone"
        elif before[key] != now[key]:
            yield f"{key}: {_short(before[key])} → {_short(now[key])}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _short(value: Any) -> str:
    text = str(value) if value != "" else "nothing"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
