"""A scheduler whose jobs are the tests' own: `python -m tests.integration.scheduled schedule|run ROOT …`.

A job has three steps. What it does is left as lines in ROOT/marks; a step waits where ROOT/hold-<step> lies, and fails
where ROOT/fail-<step> does. As in the chain, a step that was done for the same moment is found, not done again.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from retrieval.errors import DataError, GateError
from retrieval.observability import track
from retrieval.workflows.jobs.bodies import Ended, Work
from retrieval.workflows.jobs.run import run_job
from retrieval.workflows.jobs.schedule import run_schedule
from retrieval.workflows.jobs.triggers import Schedule, interval_trigger
from retrieval.workflows.workspace import Workspace

STEPS = ("fetch", "train", "deploy")


def work_on(workspace: Workspace, work: Work) -> Ended:
    mark(workspace.root, f"begin {work.as_of_us} {os.getpid()}")
    for number, step in enumerate(STEPS, 1):
        if work.stop():
            return "stopped"
        work.begins(step, number, len(STEPS))
        done = workspace.root / f"done-{step}-{work.as_of_us}"
        if not done.exists():
            do_step(workspace.root, step, forced=work.forced)
            done.touch()
            mark(workspace.root, f"{step} {work.as_of_us}")
    mark(workspace.root, f"end {work.as_of_us}")
    return "done"


def do_step(root: Path, step: str, *, forced: str) -> None:
    with track(f"doing {step}", 4, unit="parts", show=False) as tracker:
        tracker.advance(3, "nearly")
        while (root / f"hold-{step}").exists():
            time.sleep(0.05)
        tracker.advance(1)
    fails = root / f"fail-{step}"
    if fails.exists() and not forced:
        raise (GateError if fails.read_text() == "gate" else DataError)(f"{step} went wrong")


def mark(root: Path, line: str) -> None:
    with (root / "marks").open("a") as out:
        out.write(line + "\n")


def main(verb: str, root: str, *rest: str) -> None:
    workspace = Workspace.open(Path(root))
    if verb == "run":
        number, token, parent = map(int, rest)
        run_job(workspace, number, token, parent=parent, bodies={"work": work_on})
        return
    itself = (sys.executable, "-m", "tests.integration.scheduled", "run", root)
    run_schedule(
        workspace,
        wanted=[Schedule("work", interval_trigger(rest[0]), f"every {rest[0]}")],
        command=lambda job: (*itself, str(job.id), str(job.token), str(os.getpid())),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
