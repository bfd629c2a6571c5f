from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retrieval.observability import Reached
from retrieval.registry import JobProgress, JobRow, Registry, ScheduleRow
from retrieval.workflows.jobs.reporter import Reporter

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class Told:
    cancelled: threading.Event = field(default_factory=threading.Event)
    lost: list[str] = field(default_factory=list)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = Registry.create("sqlite:///registry.db", root=tmp_path)
    yield made
    made.close()


@pytest.fixture
def job(registry: Registry) -> JobRow:
    lease = registry.leases.take("schedule/feed", "a", -1)
    assert lease is not None
    row = ScheduleRow(model="feed", what="retrain", trigger="every 1h", next_due_at=None)
    queued = registry.jobs.queue(lease, row, NOON)
    assert queued is not None
    return registry.jobs.begin(lease, queued.id)


def reporter(registry: Registry, job: JobRow, told: Told, every_s: float = 0.02) -> Reporter:
    return Reporter(registry, job, cancelled=told.cancelled.set, lost=told.lost.append, every_s=every_s)


def reached(done: int, note: str = "") -> Reached:
    return Reached(title="Training", done=done, total=1_000_000, unit="examples", note=note)


def test_the_registry_is_written_at_a_bounded_rate_and_the_last_word_is_there(
    registry: Registry, job: JobRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[JobProgress] = []
    kept = type(registry.jobs).report

    def counted(jobs: object, number: int, token: int, progress: JobProgress) -> JobRow:
        written.append(progress)
        return kept(jobs, number, token, progress)  # type: ignore[arg-type]

    monkeypatch.setattr(type(registry.jobs), "report", counted)
    with reporter(registry, job, Told(), every_s=3600.0) as telling:
        telling.begins("train", 5, 14)
        for done in range(100_000):
            telling.reached(reached(done, "loss 2.1"))
    assert len(written) == 1
    row = registry.jobs.get(job.id)
    assert (row.step, row.step_number, row.step_count) == ("train", 5, 14)
    assert (row.done, row.total, row.note) == (99_999, 1_000_000, "Training (examples): loss 2.1")


def test_it_is_alive_while_the_step_says_nothing(registry: Registry, job: JobRow) -> None:
    with reporter(registry, job, Told()):
        wait_for(lambda: (registry.jobs.get(job.id).heartbeat_at or NOON) > (job.heartbeat_at or NOON))


def test_a_new_step_begins_with_nothing_done(registry: Registry, job: JobRow) -> None:
    with reporter(registry, job, Told()) as telling:
        telling.begins("train", 5, 14)
        telling.reached(reached(7))
        telling.begins("evaluate", 6, 14)
    row = registry.jobs.get(job.id)
    assert (row.step, row.done, row.total, row.note) == ("evaluate", 0, None, "")


def test_it_says_when_the_job_is_to_be_cancelled(registry: Registry, job: JobRow) -> None:
    told = Told()
    with reporter(registry, job, told):
        assert not told.cancelled.is_set()
        registry.jobs.cancel(job.id)
        assert told.cancelled.wait(60)


def test_it_says_when_the_job_was_taken_over_and_is_quiet_then(registry: Registry, job: JobRow) -> None:
    told = Told()
    with reporter(registry, job, told):
        lease = registry.leases.take("schedule/feed", "b", 60)
        assert lease is not None
        registry.jobs.take_over(lease, job, attempts=3, why="a is gone")
        wait_for(lambda: told.lost)
    assert len(told.lost) == 1
    assert "taken over" in told.lost[0]


def test_a_registry_that_is_away_holds_nothing_up(registry: Registry, job: JobRow, tmp_path: Path) -> None:
    told = Told()
    with reporter(registry, job, told) as telling:
        (tmp_path / "registry.db").rename(tmp_path / "away.db")
        telling.begins("train", 5, 14)
        time.sleep(0.1)
        (tmp_path / "away.db").rename(tmp_path / "registry.db")
        wait_for(lambda: registry.jobs.get(job.id).step == "train")
    assert told.lost == []


def wait_for(holds: object) -> None:
    by = time.monotonic() + 60
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < by
        time.sleep(0.01)
