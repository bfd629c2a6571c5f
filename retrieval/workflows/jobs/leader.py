"""The leader's work: queue what falls due, run one job after another, take over what a dead leader left."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from retrieval.backoff import Backoff
from retrieval.errors import ConflictError
from retrieval.registry import LeaseRow, Registry
from retrieval.workflows.jobs.due import Clock
from retrieval.workflows.jobs.logs import remove_logs
from retrieval.workflows.jobs.process import Command, JobProcess
from retrieval.workflows.jobs.reporter import REPORT_EVERY_S
from retrieval.workflows.workspace import Workspace

_log = logging.getLogger(__name__)
_AGAIN = Backoff(first_s=5.0, longest_s=300.0)
"""Waits before a job is begun again that something stood in the way of."""
_LOOK_S = 1.0
"""How often the registry is asked whether there is something to begin, or to cancel."""


@dataclass
class Leader:
    """What one process does while it is the leader; `tend` is called again and again."""

    workspace: Workspace
    registry: Registry
    lease: LeaseRow
    clock: Clock
    command: Command
    running: JobProcess | None = None
    _not_before: dict[int, float] = field(default_factory=dict)
    _next_look: float = 0.0

    def take_over(self) -> None:
        """Put back in the queue what earlier leaders left running.

        A process of theirs that lives still is told so by its next report, and ends; it is given the time for that.
        """
        model, attempts = self.workspace.model, self.workspace.settings.retrain.attempts
        for row in self.registry.jobs.list(model, states=["running"]):
            if row.token != self.lease.token:
                why = f"{row.holder} was not heard of any more, {self.lease.holder} takes over"
                taken = self.registry.jobs.take_over(self.lease, row, attempts=attempts, why=why)
                self._not_before[row.id] = time.monotonic() + 3 * REPORT_EVERY_S
                _log.warning("job %d is %s: %s", row.id, taken.state, taken.error)

    def tend(self, *, begin: bool) -> None:
        """Do what is to be done now; nothing here waits. With `begin`, the next job may be begun.

        Raises UnavailableError (call again), ConflictError once the lease is lost.
        """
        self.clock.queue_due()
        if self.running is not None and self.running.has_ended():
            self._settle(self.running)
        now = time.monotonic()
        if now < self._next_look:
            return
        if self.running is not None:
            self._cancel_where_asked(self.running)
        elif begin:
            self._begin_next(now)
        self._next_look = now + _LOOK_S

    def _settle(self, running: JobProcess) -> None:
        settings = self.workspace.settings.retrain
        running.settle(self.registry, self.lease, settings.attempts)
        self._not_before[running.job.id] = time.monotonic() + _AGAIN.wait_s(running.job.attempts)
        self.running = None
        self._next_look = 0.0
        for gone in self.registry.jobs.forget(self.workspace.model, settings.keep_jobs):
            remove_logs(self.workspace.root, gone)
            self._not_before.pop(gone.id, None)

    def _begin_next(self, now: float) -> None:
        job = self.registry.jobs.next_queued(self.workspace.model)
        if job is None or (job.attempts and now < self._not_before.get(job.id, 0.0)):
            return
        try:
            self.running = JobProcess.begin(self.workspace.root, self.registry, self.lease, job, self.command)
        except ConflictError:
            if self.registry.jobs.get(job.id).state == "queued":
                raise  # it is the lease that was lost
            _log.info("job %d was cancelled", job.id)

    def _cancel_where_asked(self, running: JobProcess) -> None:
        row = self.registry.jobs.get(running.job.id)
        if row.cancel == "now" and row.token == running.job.token:
            running.kill(f"cancelled in the middle of {row.step or 'its first step'}")
