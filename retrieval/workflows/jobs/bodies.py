"""What jobs do, by name: one function each, called in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from retrieval.workflows.workspace import Workspace

Ended = Literal["done", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a job is given, and whom it tells how far it is."""

    as_of_us: int
    """The moment that it was due at (µs): it works on what was known then."""
    forced: str
    """Why refusals of gates are to be passed over; empty where they aren't."""
    stop: Callable[[], bool]
    """Asked between steps: whether it is to end there."""
    begins: Callable[[str, int, int], None]
    """Told the name of a step that begins, its number from 1, and how many there are."""
    say: Callable[[str], None]
    """Told lines for people."""


Body = Callable[[Workspace, Work], Ended]


def retrain(workspace: Workspace, work: Work) -> Ended:
    """The retraining chain. Raises GateError where a gate refuses, and what its steps raise."""
    from retrieval.workflows.retrain.chain import run_retrain

    outcome = run_retrain(
        workspace,
        as_of_us=work.as_of_us,
        force=work.forced,
        stop=work.stop,
        begins=work.begins,
        say=work.say,
        show=True,
    )
    return "stopped" if outcome.run.state == "stopped" else "done"


BODIES: Mapping[str, Body] = {"retrain": retrain}
