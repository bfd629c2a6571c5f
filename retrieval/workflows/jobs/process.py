"""The process of the job that runs, as its leader sees it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from retrieval.errors import NotFoundError
from retrieval.registry import JobRow, LeaseRow, Registry
from retrieval.workflows.jobs.logs import log_name
from retrieval.workflows.workspace.workspace import RUN

_log = logging.getLogger(__name__)

Command = Callable[[JobRow], tuple[str, ...]]


class JobProcess:
    """A job that was begun, and its process. Nothing here waits."""

    def __init__(self, job: JobRow, process: subprocess.Popen[bytes]) -> None:
        self.job, self._process = job, process
        self._told = False
        self._killed = ""

    @classmethod
    def begin(cls, root: Path, registry: Registry, lease: LeaseRow, job: JobRow, command: Command) -> JobProcess:
        """Begin a job that is queued. Raises ConflictError where it isn't any more, or the lease was lost."""
        log = log_name(job)
        (root / RUN / "jobs").mkdir(parents=True, exist_ok=True)
        with (root / log).open("ab") as out:
            begun = registry.jobs.begin(lease, job.id, log)
            process = subprocess.Popen(  # noqa: S603 - our own command line
                command(begun),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                process_group=0,  # its own group: Ctrl-C reaches the leader alone, and a kill all that the job started
            )
        _log.info("job %d: %s begins, attempt %d (log: %s)", job.id, job.what, begun.attempts, root / log)
        return cls(begun, process)

    def end_between_steps(self) -> None:
        """Ask it to end before its next step; once is enough."""
        if not self._told:
            self._told = True
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    def kill(self, why: str) -> None:
        """End it, and all that it started, in the middle of whatever it does."""
        self._killed = self._killed or why
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Wait until it has ended."""
        self._process.wait()

    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def settle(self, registry: Registry, lease: LeaseRow, attempts: int) -> None:
        """See to it that the registry says how a process that has ended did; most have said so themselves.

        Raises ConflictError where the lease was lost.
        """
        try:
            row = registry.jobs.get(self.job.id)
        except NotFoundError:
            return
        if row.state != "running" or row.token != self.job.token:
            _log.info("job %d is %s%s", row.id, row.state, f": {row.error}" if row.error else "")
            return
        if self._killed:
            state = "cancelled" if row.cancel else "queued"
            registry.jobs.finish(row.id, row.token, state, self._killed)  # type: ignore[arg-type]
            _log.info("job %d is %s: %s", row.id, state, self._killed)
            return
        why = f"its process ended {_status(self._process.returncode)} and said nothing of it; see `retrieval jobs logs`"
        taken = registry.jobs.take_over(lease, row, attempts=attempts, why=why)
        _log.warning("job %d is %s: %s", row.id, taken.state, taken.error)


def _status(code: int) -> str:
    return f"with {code}" if code >= 0 else f"by signal {-code}"
