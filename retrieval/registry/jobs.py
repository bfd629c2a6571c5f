"""The registry's part about scheduled work: what is due when, jobs and how far they are, alerts about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from retrieval.registry import job_changes
from retrieval.registry.change import Change
from retrieval.registry.database import Database
from retrieval.registry.job_rows import AlertRow, AlertState, JobProgress, JobRow, JobState, LeaseRow, ScheduleRow


class Jobs:
    """Reached as `registry.jobs`; every method is one transaction and raises UnavailableError as those there.

    What takes a lease raises ConflictError once somebody else holds it, and then changes nothing.
    """

    def __init__(self, database: Database, who: str) -> None:
        self._database, self._who = database, who

    # -- by the leader

    def queue(self, lease: LeaseRow, due: ScheduleRow, due_at: datetime) -> JobRow | None:
        """Queue what is due at `due_at`, and note in the same transaction when it is due next.

        None where it was queued before: what is due is there once. One that waits still is superseded by it.
        """
        with self._change() as change:
            return job_changes.queue(change, lease, due, due_at)

    def schedule(self, model: str, what: str) -> ScheduleRow | None:
        """When that kind of job is due next, or None where none was ever."""
        with self._database.read() as connection:
            return job_changes.schedule(connection, model, what)

    def set_schedule(self, lease: LeaseRow, row: ScheduleRow) -> None:
        """Note when a kind of job is due next."""
        with self._change() as change:
            job_changes.set_schedule(change, lease, row)

    def next_queued(self, model: str) -> JobRow | None:
        """The job to begin next, the one that was due first; or None."""
        with self._database.read() as connection:
            return job_changes.next_queued(connection, model)

    def begin(self, lease: LeaseRow, number: int, log: str = "") -> JobRow:
        """Begin a job under a lease. Raises ConflictError where it isn't queued any more, NotFoundError."""
        with self._change() as change:
            return job_changes.begin(change, lease, number, log)

    def take_over(self, lease: LeaseRow, row: JobRow, *, attempts: int, why: str) -> JobRow:
        """Put a running job whose process is gone back in the queue (cancelled, if it was to be); after so many
        `attempts` it has failed. People are alerted either way. Raises ConflictError where it has ended meanwhile.
        """
        with self._change() as change:
            return job_changes.take_over(change, lease, row, attempts, why)

    def forget(self, model: str, keep: int) -> list[JobRow]:
        """Delete all but the newest `keep` jobs that have ended; returns what went. The audit trail stays."""
        with self._change() as change:
            return job_changes.forget(change, model, keep)

    # -- by the job's own process

    def report(self, number: int, token: int, progress: JobProgress) -> JobRow:
        """Note how far a job is, and that its process is alive; the row says whether it is to be cancelled.

        Raises ConflictError where it was taken over from the token, or has ended: its process must end, too.
        """
        with self._change() as change:
            return job_changes.report(change, number, token, progress)

    def finish(self, number: int, token: int, state: JobState, error: str = "") -> JobRow:
        """End a job, or put it back in the queue ("queued"). Refusals and failures alert. Raises as `report`."""
        with self._change() as change:
            return job_changes.finish(change, number, token, state, error)

    # -- by people

    def cancel(self, number: int, *, now: bool = False) -> JobRow:
        """Cancel a job: at once where it hasn't begun, else between its steps, or `now`, in the middle of one.

        Raises ConflictError where it has ended, NotFoundError.
        """
        with self._change() as change:
            return job_changes.cancel(change, number, now=now)

    def retry(self, number: int, *, forced: str = "") -> JobRow:
        """Queue a job that was refused, failed or cancelled, as of the same moment; `forced` is the reason to pass
        over refusals of gates. Raises ConflictError for any other, NotFoundError.
        """
        with self._change() as change:
            return job_changes.retry(change, number, forced)

    def get(self, number: int) -> JobRow:
        """One job. Raises NotFoundError."""
        with self._database.read() as connection:
            return job_changes.get(connection, number)

    def list(
        self, model: str | None = None, *, states: Sequence[JobState] = (), limit: int | None = None
    ) -> list[JobRow]:
        """Jobs of a model (or of all), newest first, in these states (or any)."""
        with self._database.read() as connection:
            return job_changes.list_all(connection, model, states, limit)

    # -- alerts

    def alerts(self, model: str | None = None, *, states: Sequence[AlertState] = ()) -> Sequence[AlertRow]:
        """Alerts of a model (or of all), oldest first, in these states (or any)."""
        with self._database.read() as connection:
            return job_changes.alerts(connection, model, states)

    def end_alert(self, number: int, state: AlertState, note: str = "") -> None:
        """Say how sending an alert ended."""
        with self._change() as change:
            job_changes.end_alert(change, number, state, note)

    @contextmanager
    def _change(self) -> Iterator[Change]:
        with self._database.write() as connection:
            yield Change(connection, self._who)
