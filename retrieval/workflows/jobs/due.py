"""Says when something is due: APScheduler watches the clock, and what was missed comes once.

When each kind is due next stands in the registry. It is moved on in the transaction that queues the job
(`Jobs.queue`), so that a leader that dies between the two neither loses a run nor makes one twice. APScheduler's own
SQL job store could not do that, and it would load pickles from the database.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType

from retrieval.registry import LeaseRow, Registry, ScheduleRow, utc_now
from retrieval.workflows.jobs.triggers import Schedule, next_due

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    """A kind of job and the moment that it is due at; of several that were missed, the last."""

    schedule: Schedule
    at: datetime


class Clock:
    """While the block runs, tells what falls due. Made by the leader; takes up what was due while there was none."""

    def __init__(self, registry: Registry, model: str, lease: LeaseRow, schedules: Sequence[Schedule]) -> None:
        self._registry, self._model, self._lease = registry, model, lease
        self._schedules = {schedule.what: schedule for schedule in schedules}
        self._due: queue.SimpleQueue[Due] = queue.SimpleQueue()
        self._held: Due | None = None

    def __enter__(self) -> Clock:
        from apscheduler.events import EVENT_JOB_SUBMITTED
        from apscheduler.executors.debug import DebugExecutor
        from apscheduler.schedulers.background import BackgroundScheduler

        self._scheduler = BackgroundScheduler(executors={"default": DebugExecutor()}, timezone=UTC)
        self._scheduler.add_listener(self._submitted, EVENT_JOB_SUBMITTED)
        for schedule in self._schedules.values():
            at = self._next_of(schedule)
            if at is not None:
                self._scheduler.add_job(
                    _nothing,
                    schedule.trigger,
                    id=schedule.what,
                    next_run_time=at,
                    coalesce=True,
                    misfire_grace_time=None,
                    max_instances=1,
                )
                _log.info("%s: %s, next at %s", schedule.what, schedule.words, f"{at:%Y-%m-%dT%H:%M:%SZ}")
        self._scheduler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scheduler.shutdown(wait=False)

    def queue_due(self) -> None:
        """Queue what has fallen due. Raises UnavailableError (what is due is kept) and ConflictError (lease lost)."""
        for due in self._fallen_due():
            following = next_due(due.schedule.trigger, due.at, utc_now())
            row = self._row(due.schedule, following)
            job = self._registry.jobs.queue(self._lease, row, due.at)
            if job is not None:
                _log.info("job %d: %s, due at %s", job.id, job.what, f"{due.at:%Y-%m-%dT%H:%M:%SZ}")

    def _fallen_due(self) -> Iterator[Due]:
        while True:
            try:
                self._held = self._held or self._due.get_nowait()
            except queue.Empty:
                return
            yield self._held
            self._held = None

    def _next_of(self, schedule: Schedule) -> datetime | None:
        """The moment that the registry knows, where the trigger is the same; else the trigger's next one, noted."""
        known = self._registry.jobs.schedule(self._model, schedule.what)
        if known is not None and known.trigger == schedule.words:
            return known.next_due_at
        at = next_due(schedule.trigger, None, utc_now())
        self._registry.jobs.set_schedule(self._lease, self._row(schedule, at))
        return at

    def _row(self, schedule: Schedule, at: datetime | None) -> ScheduleRow:
        return ScheduleRow(model=self._model, what=schedule.what, trigger=schedule.words, next_due_at=at)

    def _submitted(self, event: object) -> None:
        schedule = self._schedules[event.job_id]  # type: ignore[attr-defined]
        for at in event.scheduled_run_times:  # type: ignore[attr-defined]
            self._due.put(Due(schedule, at.astimezone(UTC)))


def _nothing() -> None:
    """What APScheduler runs; the work is done by the leader, in a process of its own."""
