"""`retrieval retrain schedule`: waits to be the leader, leads until it is told to stop or another takes its place."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from types import FrameType

from retrieval.errors import ConflictError, UnavailableError
from retrieval.registry import JobRow, LeaseRow, Registry
from retrieval.workflows.fleet.local_fleet import retrieval_command
from retrieval.workflows.jobs.alerting import Alerting
from retrieval.workflows.jobs.due import Clock
from retrieval.workflows.jobs.leader import Leader
from retrieval.workflows.jobs.leading import HeldLease, holder_name, lease_name
from retrieval.workflows.jobs.process import Command
from retrieval.workflows.jobs.triggers import Schedule, schedules
from retrieval.workflows.workspace import Workspace

_log = logging.getLogger(__name__)
_TICK_S = 0.1
_WAITING_TRIES = 4
"""How often a process that waits to lead asks for the lease, within the time of one."""


def run_schedule(
    workspace: Workspace, *, wanted: Sequence[Schedule] | None = None, command: Command | None = None
) -> None:
    """Queue and run jobs when they are due, as [retrain] says, until SIGTERM or SIGINT; of several such processes, one
    does, and the others wait to take its place.

    The signal ends a job that runs before its next step, and it is taken up again by whoever leads next; a second one
    ends it at once. `wanted` and `command` are the schedules and the jobs' command lines, where they aren't the usual
    ones. Raises ConfigError where nothing is scheduled, UnavailableError where the registry can't be opened.
    """
    from retrieval.observability import set_up_logs

    set_up_logs()
    scheduled = schedules(workspace.settings.retrain) if wanted is None else wanted
    begin = command or (lambda job: job_command(workspace, job))
    holder = holder_name()
    with closing(workspace.registry()) as registry, _Signals() as signals:
        _log.info("%s waits to lead", holder)
        while not signals.asked.is_set():
            lease = _taken(workspace, registry, holder)
            if lease is not None:
                _log.info("%s leads, token %d", holder, lease.token)
                _lead(_Leading(workspace, registry, lease, scheduled, begin), signals)
            signals.asked.wait(workspace.settings.retrain.lease_s / _WAITING_TRIES)


def job_command(workspace: Workspace, job: JobRow) -> tuple[str, ...]:
    """The command line of a job's process: this very installation's, with the workspace's overrides."""
    overrides = [part for override in workspace.overrides for part in ("--set", override)]
    numbers = ("--token", str(job.token), "--parent", str(os.getpid()))
    return retrieval_command("jobs", "run", str(job.id), *numbers, "--workspace", str(workspace.root), *overrides)


def _taken(workspace: Workspace, registry: Registry, holder: str) -> LeaseRow | None:
    try:
        return registry.leases.take(lease_name(workspace.model), holder, workspace.settings.retrain.lease_s)
    except UnavailableError as error:
        _log.warning("the registry is away: %s", error)
        return None


@dataclass(frozen=True, slots=True)
class _Leading:
    """What a leader needs."""

    workspace: Workspace
    registry: Registry
    lease: LeaseRow
    schedules: Sequence[Schedule]
    command: Command


def _lead(what: _Leading, signals: _Signals) -> None:
    """Lead until a signal has ended the job that runs, or the lease is lost."""
    workspace, registry, lease, settings = what.workspace, what.registry, what.lease, what.workspace.settings
    with HeldLease(registry, lease, settings.retrain.lease_s) as held:
        try:
            with (
                Clock(registry, workspace.model, lease, what.schedules) as clock,
                Alerting(registry, workspace.model, settings.alerts),
            ):
                _tended(Leader(workspace, registry, lease, clock, what.command), held, signals)
        except ConflictError as error:
            _log.warning("no longer the leader: %s", error)
        except UnavailableError as error:
            _log.warning("the registry is away, the lease is let go: %s", error)


def _tended(leader: Leader, held: HeldLease, signals: _Signals) -> None:
    leader.take_over()
    away = False
    try:
        while not held.lost:
            if signals.asked.is_set():
                if leader.running is None:
                    return
                leader.running.end_between_steps()
            if signals.again.is_set() and leader.running is not None:
                leader.running.kill("stopped in the middle of a step")
            try:
                leader.tend(begin=not signals.asked.is_set())
                away = False
            except UnavailableError as error:
                if signals.again.is_set():
                    return
                if not away:
                    _log.warning("the registry is away: %s", error)
                away = True
            time.sleep(_TICK_S)
    finally:
        if leader.running is not None:
            leader.running.kill("its leader is not the leader any more")
            leader.running.wait()


class _Signals:
    """Within the block, SIGTERM and SIGINT set `asked`, a second one sets `again`."""

    def __init__(self) -> None:
        self.asked, self.again = threading.Event(), threading.Event()
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> _Signals:
        for each in (signal.SIGTERM, signal.SIGINT):
            self._before[each] = signal.signal(each, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)  # type: ignore[arg-type]

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        _log.info("stopping after %s; a job that runs ends before its next step", signal.Signals(number).name)
        (self.again if self.asked.is_set() else self.asked).set()
