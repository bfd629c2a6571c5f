from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from retrieval.errors import ConflictError, NotFoundError
from retrieval.registry import JobProgress, JobRow, LeaseRow, Registry, ScheduleRow

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
STEP = JobProgress(step="train", step_number=4, step_count=14, done=30, total=100, note="loss 2.1")


def due_next(at: datetime, what: str = "retrain", model: str = "feed") -> ScheduleRow:
    return ScheduleRow(model=model, what=what, trigger="every 1h", next_due_at=at)


@pytest.fixture
def lease(registry: Registry) -> LeaseRow:
    return taken(registry, "a")


def taken(registry: Registry, holder: str, for_s: float = -1) -> LeaseRow:
    """A lease that has run out already: whoever comes next may take it."""
    lease = registry.leases.take("schedule/feed", holder, for_s)
    assert lease is not None
    return lease


def queued(registry: Registry, lease: LeaseRow, at: datetime = NOON, what: str = "retrain") -> JobRow:
    job = registry.jobs.queue(lease, due_next(at + HOUR, what), at)
    assert job is not None
    return job


def running(registry: Registry, lease: LeaseRow) -> JobRow:
    return registry.jobs.begin(lease, queued(registry, lease).id, "run/jobs/1-1.log")


def test_a_job_goes_from_the_queue_to_its_end(registry: Registry, lease: LeaseRow) -> None:
    job = queued(registry, lease)
    assert registry.jobs.next_queued("feed") == job
    begun = registry.jobs.begin(lease, job.id, "run/jobs/1-1.log")
    assert (begun.state, begun.attempts, begun.holder, begun.token) == ("running", 1, "a", lease.token)
    assert begun.log == "run/jobs/1-1.log"
    assert registry.jobs.next_queued("feed") is None
    row = registry.jobs.report(job.id, lease.token, STEP)
    assert (row.step, row.step_number, row.step_count, row.done, row.total) == ("train", 4, 14, 30, 100)
    assert begun.heartbeat_at is not None
    assert row.heartbeat_at is not None
    assert row.heartbeat_at >= begun.heartbeat_at
    ended = registry.jobs.finish(job.id, lease.token, "done")
    assert ended.state == "done"
    assert ended.finished_at is not None
    assert registry.jobs.alerts() == []
    with pytest.raises(ConflictError, match="is done"):
        registry.jobs.finish(job.id, lease.token, "done")


def test_what_is_due_is_queued_once_and_the_next_moment_is_noted_with_it(registry: Registry, lease: LeaseRow) -> None:
    job = queued(registry, lease)
    registry.jobs.finish(registry.jobs.begin(lease, job.id).id, lease.token, "done")
    assert registry.jobs.queue(lease, due_next(NOON + HOUR), NOON) is None
    assert len(registry.jobs.list("feed")) == 1
    assert registry.jobs.schedule("feed", "retrain") == due_next(NOON + HOUR)
    assert registry.jobs.schedule("feed", "refresh") is None
    assert job.as_of_us == 1_767_268_800_000_000
    assert job.due_at == NOON


def test_what_two_queue_at_once_is_there_once(registry: Registry, lease: LeaseRow) -> None:
    start = threading.Barrier(4)

    def attempt(_: int) -> bool:
        start.wait()
        return registry.jobs.queue(lease, due_next(NOON + HOUR), NOON) is not None

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(attempt, range(4))) == [False, False, False, True]


def test_one_that_waits_is_superseded_by_the_next_of_its_kind(registry: Registry, lease: LeaseRow) -> None:
    first = queued(registry, lease)
    other = queued(registry, lease, what="refresh")
    second = queued(registry, lease, NOON + HOUR)
    assert registry.jobs.get(first.id).state == "superseded"
    assert str(second.id) in registry.jobs.get(first.id).note
    assert registry.jobs.get(other.id).state == "queued"
    # one that was begun stays, and so does one that a person retries
    begun = registry.jobs.begin(lease, second.id)
    registry.jobs.finish(begun.id, lease.token, "queued", "stopped")
    registry.jobs.retry(first.id)
    queued(registry, lease, NOON + 2 * HOUR)
    assert [registry.jobs.get(row.id).state for row in (first, second)] == ["queued", "queued"]
    following = registry.jobs.next_queued("feed")
    assert following is not None
    assert following.due_at == NOON


def test_a_leader_that_was_deposed_changes_nothing(registry: Registry) -> None:
    old = taken(registry, "a")
    job = queued(registry, old)
    new = taken(registry, "b", 60)
    with pytest.raises(ConflictError, match="a has lost it"):
        registry.jobs.queue(old, due_next(NOON + 2 * HOUR), NOON + HOUR)
    with pytest.raises(ConflictError, match="a has lost it"):
        registry.jobs.begin(old, job.id)
    with pytest.raises(ConflictError, match="a has lost it"):
        registry.jobs.set_schedule(old, due_next(NOON))
    assert registry.jobs.schedule("feed", "retrain") == due_next(NOON + HOUR)
    assert registry.jobs.begin(new, job.id).holder == "b"


def test_a_job_that_is_taken_over_is_begun_again_and_its_old_process_is_told(registry: Registry) -> None:
    old = taken(registry, "a")
    job = running(registry, old)
    new = taken(registry, "b", 60)
    waiting = registry.jobs.take_over(new, job, attempts=3, why="a was not heard of any more")
    assert (waiting.state, waiting.attempts, waiting.holder) == ("queued", 1, "")
    again = registry.jobs.begin(new, job.id)
    assert (again.attempts, again.due_at, again.error) == (2, NOON, "")
    for attempt in (
        lambda: registry.jobs.report(job.id, old.token, STEP),
        lambda: registry.jobs.finish(job.id, old.token, "done"),
    ):
        with pytest.raises(ConflictError, match="begun by b: it was taken over"):
            attempt()
    assert registry.jobs.get(job.id) == again
    (alert,) = registry.jobs.alerts("feed", states=["due"])
    assert (alert.kind, alert.job) == ("taken_over", job.id)
    assert alert.message == (
        "retrain of feed, due at 2026-01-01 12:00:00Z: a was not heard of any more; begun 1 times, it is begun again"
    )
    assert registry.audit(subject=f"job {job.id}")[0].action == "job.taken_over"


def test_a_job_whose_process_is_gone_too_often_has_failed(registry: Registry, lease: LeaseRow) -> None:
    job = running(registry, lease)
    ended = registry.jobs.take_over(lease, job, attempts=1, why="ended by signal 9")
    assert ended.state == "failed"
    assert ended.finished_at is not None
    assert "given up" in ended.error
    assert [alert.kind for alert in registry.jobs.alerts()] == ["failed"]
    with pytest.raises(ConflictError, match="is failed"):
        registry.jobs.take_over(lease, job, attempts=1, why="")


@pytest.mark.parametrize("state", ["refused", "failed"])
def test_refusals_and_failures_alert_in_the_same_change(registry: Registry, lease: LeaseRow, state: str) -> None:
    job = running(registry, lease)
    registry.jobs.finish(job.id, lease.token, state, "recall .81, at least .95 wanted")  # type: ignore[arg-type]
    (alert,) = registry.jobs.alerts(states=["due"])
    assert alert.kind == state
    assert alert.message.endswith("recall .81, at least .95 wanted")
    registry.jobs.end_alert(alert.id, "given_up", "refused by the server (403)")
    assert registry.jobs.alerts(states=["due"]) == []
    assert registry.jobs.alerts()[0].note == "refused by the server (403)"


def test_one_that_waits_is_cancelled_at_once_one_that_runs_is_asked(registry: Registry, lease: LeaseRow) -> None:
    waiting = queued(registry, lease)
    assert registry.jobs.cancel(waiting.id).state == "cancelled"
    with pytest.raises(ConflictError, match="is cancelled; there is nothing to cancel"):
        registry.jobs.cancel(waiting.id)
    with pytest.raises(ConflictError, match="only one that is queued can begin"):
        registry.jobs.begin(lease, waiting.id)
    job = registry.jobs.begin(lease, queued(registry, lease, NOON + HOUR).id)
    assert registry.jobs.cancel(job.id).state == "running"
    assert registry.jobs.report(job.id, lease.token, STEP).cancel == "asked"
    assert registry.jobs.cancel(job.id, now=True).cancel == "now"
    assert registry.jobs.cancel(job.id).cancel == "now"
    assert registry.jobs.finish(job.id, lease.token, "cancelled").cancel == ""


def test_one_that_was_to_be_cancelled_is_not_begun_again_after_its_process(registry: Registry, lease: LeaseRow) -> None:
    job = running(registry, lease)
    registry.jobs.cancel(job.id)
    assert registry.jobs.take_over(lease, job, attempts=3, why="a is gone").state == "cancelled"
    assert registry.jobs.alerts() == []


def test_a_retry_works_on_the_same_moment_and_its_reason_is_kept(registry: Registry, lease: LeaseRow) -> None:
    job = running(registry, lease)
    with pytest.raises(ConflictError, match="is running; only one that"):
        registry.jobs.retry(job.id)
    registry.jobs.finish(job.id, lease.token, "refused", "too few events")
    row = registry.jobs.retry(job.id, forced="a holiday")
    assert (row.state, row.forced, row.attempts, row.error, row.due_at) == ("queued", "a holiday", 0, "", NOON)
    assert registry.audit(subject=f"job {job.id}")[0].details["forced"] == "a holiday"
    registry.jobs.finish(registry.jobs.begin(lease, job.id).id, lease.token, "done")
    with pytest.raises(ConflictError, match="is done"):
        registry.jobs.retry(job.id)


def test_old_jobs_are_forgotten_with_their_alerts_and_running_ones_kept(registry: Registry, lease: LeaseRow) -> None:
    for hour in range(4):
        job = registry.jobs.begin(lease, queued(registry, lease, NOON + hour * HOUR).id)
        registry.jobs.finish(job.id, lease.token, "failed", "no disk")
    last = registry.jobs.begin(lease, queued(registry, lease, NOON + 9 * HOUR).id)
    assert [row.id for row in registry.jobs.forget("feed", 2)] == [2, 1]
    assert [row.id for row in registry.jobs.list("feed")] == [last.id, 4, 3]
    assert [alert.job for alert in registry.jobs.alerts()] == [3, 4]


def test_a_job_that_is_not_there_is_said_so(registry: Registry, lease: LeaseRow) -> None:
    for call in (registry.jobs.get, registry.jobs.cancel, registry.jobs.retry):
        with pytest.raises(NotFoundError, match="job 7: not in the registry; `retrieval jobs list`"):
            call(7)
