from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retrieval.errors import ConflictError, DataError, GateError, UnavailableError
from retrieval.registry import JobRow, LeaseRow, Registry, ScheduleRow
from retrieval.workflows.jobs import run as run_module
from retrieval.workflows.jobs.bodies import Ended, Work
from retrieval.workflows.jobs.run import run_job
from retrieval.workflows.workspace import Workspace
from tests.tiny import make_workspace

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    yield make_workspace(tmp_path, '[model]\nname = "feed"\n[retrain]\nattempts = 2\n')
    for each, handler in before.items():
        signal.signal(each, handler)


def begun(registry: Registry, lease: LeaseRow, forced: str = "") -> JobRow:
    row = ScheduleRow(model="feed", what="retrain", trigger="every 1h", next_due_at=None)
    job = registry.jobs.queue(lease, row, NOON)
    if job is None:
        (job,) = registry.jobs.list("feed")
        if job.state != "queued":
            registry.jobs.retry(job.id, forced=forced)
    return registry.jobs.begin(lease, job.id)


def ran(workspace: Workspace, job: JobRow, body: Callable[[Workspace, Work], Ended]) -> JobRow:
    run_job(workspace, job.id, job.token, bodies={"retrain": body})
    registry = workspace.registry()
    try:
        return registry.jobs.get(job.id)
    finally:
        registry.close()


def raising(error: Exception) -> Callable[[Workspace, Work], Ended]:
    def body(_workspace: Workspace, _work: Work) -> Ended:
        raise error

    return body


def test_a_body_is_given_the_moment_that_was_due(workspace: Workspace, registry: Registry, lease: LeaseRow) -> None:
    given: list[Work] = []

    def body(_workspace: Workspace, work: Work) -> Ended:
        given.append(work)
        work.begins("train", 1, 2)
        return "done"

    row = ran(workspace, begun(registry, lease), body)
    assert (row.state, row.error, row.step) == ("done", "", "train")
    assert given[0].as_of_us == int(NOON.timestamp()) * 1_000_000
    assert (given[0].forced, given[0].stop()) == ("", False)


@pytest.mark.parametrize(
    ("error", "state", "said"),
    [
        (GateError("recall .81"), "refused", "recall .81"),
        (DataError("no column price"), "failed", "no column price"),
        (ZeroDivisionError("a bug"), "failed", "ZeroDivisionError: a bug"),
    ],
)
def test_how_a_body_fails_is_recorded(
    workspace: Workspace, registry: Registry, lease: LeaseRow, error: Exception, state: str, said: str
) -> None:
    row = ran(workspace, begun(registry, lease), raising(error))
    assert (row.state, row.error) == (state, said)


@pytest.mark.parametrize("error", [ConflictError("a deployment runs"), UnavailableError("the store is away")])
def test_what_may_pass_is_tried_again_as_often_as_the_settings_say(
    workspace: Workspace, registry: Registry, lease: LeaseRow, error: Exception
) -> None:
    assert ran(workspace, begun(registry, lease), raising(error)).state == "queued"
    assert registry.jobs.alerts() == []
    row = ran(workspace, begun(registry, lease), raising(error))
    assert (row.state, row.error) == ("failed", str(error))
    assert [alert.kind for alert in registry.jobs.alerts()] == ["failed"]


def test_one_that_stopped_is_queued_and_cancelled_where_that_was_asked(
    workspace: Workspace, registry: Registry, lease: LeaseRow
) -> None:
    assert ran(workspace, begun(registry, lease), lambda *_: "stopped").state == "queued"
    job = begun(registry, lease)
    registry.jobs.cancel(job.id)
    assert ran(workspace, job, lambda *_: "stopped").state == "cancelled"


def test_a_job_knows_at_once_that_it_is_to_be_cancelled(
    workspace: Workspace, registry: Registry, lease: LeaseRow
) -> None:
    asked: list[bool] = []

    def body(_workspace: Workspace, work: Work) -> Ended:
        asked.append(work.stop())
        registry.jobs.cancel(job.id)
        asked.append(work.stop())
        return "stopped"

    job = begun(registry, lease)
    assert ran(workspace, job, body).state == "cancelled"
    assert asked == [False, True]


def test_a_reason_to_pass_over_gates_reaches_the_body(
    workspace: Workspace, registry: Registry, lease: LeaseRow
) -> None:
    ran(workspace, begun(registry, lease), raising(GateError("too few events")))
    given: list[str] = []

    def body(_workspace: Workspace, work: Work) -> Ended:
        given.append(work.forced)
        return "done"

    assert ran(workspace, begun(registry, lease, forced="a holiday"), body).state == "done"
    assert given == ["a holiday"]


def test_a_job_of_another_program_has_failed(workspace: Workspace, registry: Registry, lease: LeaseRow) -> None:
    job = begun(registry, lease)
    run_job(workspace, job.id, job.token, bodies={})
    assert "this program has no such job" in registry.jobs.get(job.id).error


def test_a_job_that_is_anothers_is_not_touched(workspace: Workspace, registry: Registry, lease: LeaseRow) -> None:
    job = begun(registry, lease)
    with pytest.raises(ConflictError, match="a leader begins it"):
        run_job(workspace, job.id, job.token + 1, bodies={})
    assert registry.jobs.get(job.id) == job


def test_the_end_is_recorded_however_long_the_registry_is_away(
    workspace: Workspace, registry: Registry, lease: LeaseRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = workspace.root / "registry.db"
    waits: list[float] = []

    def waited(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            away.with_suffix(".away").rename(away)

    def body(_workspace: Workspace, _work: Work) -> Ended:
        away.rename(away.with_suffix(".away"))
        return "done"

    monkeypatch.setattr(run_module.time, "sleep", waited)
    assert ran(workspace, begun(registry, lease), body).state == "done"
    assert len(waits) == 2
