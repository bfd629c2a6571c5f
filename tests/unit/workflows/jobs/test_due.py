from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retrieval.errors import ConflictError, UnavailableError
from retrieval.registry import LeaseRow, Registry, ScheduleRow
from retrieval.workflows.jobs.due import Clock
from retrieval.workflows.jobs.triggers import Schedule, interval_trigger

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOURLY = Schedule("retrain", interval_trigger("1h"), "every 1h")
EACH_SECOND = Schedule("retrain", interval_trigger("1s"), "every 1s")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = Registry.create("sqlite:///registry.db", root=tmp_path)
    yield made
    made.close()


def due_at(registry: Registry, lease: LeaseRow, at: datetime, trigger: str = "every 1h") -> None:
    registry.jobs.set_schedule(lease, ScheduleRow(model="feed", what="retrain", trigger=trigger, next_due_at=at))


def until(holds: Callable[[], bool]) -> None:
    by = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < by
        time.sleep(0.01)


def test_what_was_missed_comes_once_as_of_the_last_moment(registry: Registry, lease: LeaseRow) -> None:
    due_at(registry, lease, NOON)
    before = datetime.now(UTC)
    with Clock(registry, "feed", lease, [HOURLY]) as clock:
        until(lambda: clock.queue_due() or len(registry.jobs.list("feed")) > 0)
        clock.queue_due()
    (job,) = registry.jobs.list("feed")
    assert before - timedelta(hours=1) <= job.due_at <= datetime.now(UTC)
    assert (job.due_at.minute, job.due_at.second) == (0, 0)
    row = registry.jobs.schedule("feed", "retrain")
    assert row is not None
    assert row.next_due_at == job.due_at + timedelta(hours=1)


def test_the_first_time_it_is_due_at_the_next_moment_and_that_is_noted(registry: Registry, lease: LeaseRow) -> None:
    with Clock(registry, "feed", lease, [HOURLY]) as clock:
        clock.queue_due()
    assert registry.jobs.list("feed") == []
    row = registry.jobs.schedule("feed", "retrain")
    assert row is not None
    assert row.trigger == "every 1h"
    assert row.next_due_at is not None
    assert timedelta(0) < row.next_due_at - datetime.now(UTC) <= timedelta(hours=1)


def test_another_trigger_than_before_forgets_what_was_missed(registry: Registry, lease: LeaseRow) -> None:
    due_at(registry, lease, NOON, trigger="every 5m")
    with Clock(registry, "feed", lease, [HOURLY]) as clock:
        clock.queue_due()
    row = registry.jobs.schedule("feed", "retrain")
    assert row is not None
    assert row.next_due_at is not None
    assert row.next_due_at > datetime.now(UTC) - timedelta(minutes=1)
    assert registry.jobs.list("feed") == []


def test_what_falls_due_while_the_registry_is_away_is_queued_when_it_is_back(
    registry: Registry, lease: LeaseRow, tmp_path: Path
) -> None:
    due_at(registry, lease, NOON)
    with Clock(registry, "feed", lease, [HOURLY]) as clock:
        (tmp_path / "registry.db").rename(tmp_path / "away.db")

        def is_refused() -> bool:
            try:
                clock.queue_due()
            except UnavailableError:
                return True
            return False

        until(is_refused)
        assert is_refused()
        (tmp_path / "away.db").rename(tmp_path / "registry.db")
        clock.queue_due()
    assert len(registry.jobs.list("feed")) == 1


def test_it_goes_on_second_after_second_without_a_gap(registry: Registry, lease: LeaseRow) -> None:
    due_at(registry, lease, datetime.now(UTC).replace(microsecond=0), "every 1s")
    with Clock(registry, "feed", lease, [EACH_SECOND]) as clock:
        until(lambda: clock.queue_due() or len(registry.jobs.list("feed")) >= 3)
    jobs = registry.jobs.list("feed")
    row = registry.jobs.schedule("feed", "retrain")
    assert row is not None
    assert row.next_due_at == jobs[0].due_at + timedelta(seconds=1)
    assert [job.state for job in jobs] == ["queued", *["superseded"] * (len(jobs) - 1)]
    assert len({job.due_at for job in jobs}) == len(jobs)


def test_a_leader_that_was_deposed_queues_nothing(registry: Registry) -> None:
    old = registry.leases.take("schedule/feed", "a", -1)
    assert old is not None
    due_at(registry, old, NOON)
    with Clock(registry, "feed", old, [HOURLY]) as clock:
        assert registry.leases.take("schedule/feed", "b", 60)

        def is_told() -> bool:
            try:
                clock.queue_due()
            except ConflictError:
                return True
            return False

        until(is_told)
    assert registry.jobs.list("feed") == []
