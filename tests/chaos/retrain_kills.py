"""Kills the retraining chain (kill -9) at the start of each step and in the middle, and lets it go on each time.

`python -m tests.chaos.retrain_kills WORKSPACE SEED` prints what it saw as JSON. Everything is loaded once; each attempt
is a process of its own, forked from this one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from retrieval.registry import Registry
from retrieval.storage import ArtifactStore
from retrieval.training import run as training_run
from retrieval.workflows.retrain import chain
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings
from retrieval.workflows.workspace import Workspace
from tests.retraining import after_days

FIRST, SECOND = after_days(20), after_days(25)


def die(*_: object, **__: object) -> None:
    """As if somebody had typed kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)


def after(function: Callable[..., Any]) -> Callable[..., Any]:
    """Do it, and die."""

    def done(*given: Any, **named: Any) -> Any:
        function(*given, **named)
        die()

    return done


def at_start(step: Step) -> Step:
    return replace(step, run=die)


def when_made(step: Step) -> Step:
    """Once all is in place, and before that is recorded."""
    return replace(step, run=after(step.run))


def when_published(step: Step) -> Step:
    """Right after an artifact appeared in the store, of which the registry knows nothing."""
    return _while_running(step, lambda: setattr(ArtifactStore, "publish", after(ArtifactStore.publish)))


def at_checkpoint(step: Step) -> Step:
    """In the middle of training."""

    def patch() -> None:
        training_run.save_checkpoint = after(training_run.save_checkpoint)

    return _while_running(step, patch)


def when_reserved(step: Step) -> Step:
    """With a number reserved, and nothing in the store."""

    def patch() -> None:
        for name in ("reserve_version", "reserve_build"):
            setattr(Registry, name, after(getattr(Registry, name)))

    return _while_running(step, patch)


def while_deploying(step: Step) -> Step:
    """With a deployment that is still marked as running."""
    return _while_running(step, lambda: setattr(Registry, "finish_deployment", die))


def _while_running(step: Step, patch: Callable[[], None]) -> Step:
    def run(around: Surroundings, outputs: Outputs) -> Made:
        patch()
        return step.run(around, outputs)

    return replace(step, run=run)


MIDDLES: dict[str, list[Callable[[Step], Step]]] = {
    "train": [at_checkpoint, when_reserved, when_published],
    "index": [when_reserved, when_published],
    "roll_out": [while_deploying],
}


def attempt(root: Path, kill: tuple[str, Callable[[Step], Step]] | None) -> int:
    """Run the chain in a process of its own; returns its exit status, negative for a signal."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    try:
        if kill is not None:
            chain.STEPS = tuple(kill[1](step) if step.name == kill[0] else step for step in chain.STEPS)
        chain.run_retrain(Workspace.open(root), as_of_us=SECOND)
    except BaseException:  # noqa: BLE001  # whatever it is, the parent must not go on here
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def records(root: Path) -> dict[str, tuple[str, int]]:
    """State and attempts of every step."""
    with closing(Workspace.open(root).registry()) as registry:
        rows = registry.retraining.steps("demo")
    return {f"{row.step} {row.address}": (row.state, row.attempts) for row in rows}


def main(root: Path, seed: int) -> None:
    rng = random.Random(seed)
    assert attempt_first(root) == 0
    repeated, survived, finished = [], [], records(root)
    for step in chain.STEPS:
        # in the order of the work: what one attempt has put in place, the next one finds
        kills = [*(middle for middle in MIDDLES.get(step.name, []) if rng.random() < 0.7), when_made]
        kills.insert(rng.randrange(len(kills)), at_start)
        for kill in kills:
            if attempt(root, (step.name, kill)) != -signal.SIGKILL:
                survived.append(f"{step.name} {kill.__name__}")
            now = records(root)
            repeated += [name for name, row in finished.items() if row[0] == "done" and now[name] != row]
            finished = now
    ended = attempt(root, None)
    print(json.dumps({"ended": ended, "survived": survived, "repeated": repeated, "steps": len(records(root))}))


def attempt_first(root: Path) -> int:
    """The version that is live before: made in this process, so that all is loaded for those that follow."""
    return 0 if chain.run_retrain(Workspace.open(root), as_of_us=FIRST).run.state == "done" else 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
