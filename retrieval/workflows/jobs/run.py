"""A job's own process: does the work, says how far it is, and records how it ended."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from types import FrameType

from retrieval.backoff import Backoff
from retrieval.errors import ConflictError, GateError, RetrievalError, UnavailableError
from retrieval.observability import set_up_logs, told_to
from retrieval.registry import JobRow, Registry
from retrieval.registry.job_rows import JobState
from retrieval.workflows.fleet.services import end_with
from retrieval.workflows.jobs.bodies import BODIES, Body, Work
from retrieval.workflows.jobs.reporter import Reporter
from retrieval.workflows.workspace import Workspace

_log = logging.getLogger(__name__)
_AGAIN = Backoff(first_s=1.0, longest_s=30.0)


def run_job(
    workspace: Workspace, number: int, token: int, *, parent: int | None = None, bodies: Mapping[str, Body] = BODIES
) -> None:
    """Do the job that a leader began under the lease of this `token`, and record how it ended.

    SIGTERM, SIGINT, and a request to cancel it end it between two steps. With `parent`, the process ends at once, in
    the middle of a step, when that one does: another leader takes the job over then. What passes by itself, such as a
    host that is away, is tried again as often as retrain.attempts says. Raises ConflictError where the job isn't this
    token's, NotFoundError.
    """
    set_up_logs()
    stop = threading.Event()
    _listen(stop, parent)
    end_with(parent)
    with closing(workspace.registry()) as registry:
        job = registry.jobs.get(number)
        if (job.state, job.token) != ("running", token):
            raise ConflictError(f"job {number} is {job.state}: a leader begins it, not this command")
        _log.info("job %d: %s as of %s, attempt %d", job.id, job.what, job.due_at.isoformat(), job.attempts)
        with Reporter(registry, job, cancelled=stop.set, lost=_end_at_once) as reporter, told_to(reporter.reached):

            def stopped() -> bool:
                return stop.is_set() or _is_cancelled(registry, job)  # the next report may be a second away

            state, error = _done(workspace, job, bodies, stopped, reporter)
        if state == "queued" and _is_cancelled(registry, job):
            state, error = "cancelled", error or "between two steps"
        _record(registry, job, state, error)
    _log.info("job %d is %s%s", job.id, state, f": {error}" if error else "")


def _done(
    workspace: Workspace, job: JobRow, bodies: Mapping[str, Body], stop: Callable[[], bool], reporter: Reporter
) -> tuple[JobState, str]:
    """What becomes of the job, and why."""
    again: JobState = "queued" if job.attempts < workspace.settings.retrain.attempts else "failed"
    work = Work(as_of_us=job.as_of_us, forced=job.forced, stop=stop, begins=reporter.begins, say=_log.info)
    body = bodies.get(job.what)
    if body is None:
        return "failed", f"{job.what!r}: this program has no such job; it knows {', '.join(sorted(bodies))}"
    try:
        ended = body(workspace, work)
    except GateError as error:
        return "refused", str(error)
    except (ConflictError, UnavailableError) as error:
        _log.warning("what stands in the way may pass: %s", error)
        return again, str(error)
    except RetrievalError as error:
        return "failed", str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is how the job ended
        _log.exception("job %d", job.id)
        return "failed", f"{type(error).__name__}: {error}"
    return ("done", "") if ended == "done" else ("queued", "stopped between two steps")


def _is_cancelled(registry: Registry, job: JobRow) -> bool:
    """Whether somebody wants the job cancelled; False where that can't be told now."""
    try:
        return bool(registry.jobs.get(job.id).cancel)
    except UnavailableError:
        return False


def _record(registry: Registry, job: JobRow, state: JobState, error: str) -> None:
    """Record the end, however long the registry is away: the work is done, and must not be done again."""
    failures = 0
    while True:
        try:
            registry.jobs.finish(job.id, job.token, state, error)
        except UnavailableError as away:
            failures += 1
            _log.warning("the end of the job can't be recorded now: %s", away)
            time.sleep(_AGAIN.wait_s(failures))
        except ConflictError as other:
            _end_at_once(str(other))
        else:
            return


def _listen(stop: threading.Event, parent: int | None) -> None:
    def on_signal(number: int, _frame: FrameType | None) -> None:
        if parent is not None and os.getppid() != parent:
            _end_at_once("the process that began it is gone")
        _log.info("%s: the job ends before its next step", signal.Signals(number).name)
        stop.set()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, on_signal)


def _end_at_once(why: str) -> None:
    """End in the middle of whatever is going on: the job is another process's by now, or will be."""
    sys.stderr.write(f"ended at once: {why}\n")
    sys.stderr.flush()
    os._exit(ConflictError.exit_code)
