from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from retrieval.registry import JobProgress, JobRow, LeaseRow, Registry, ScheduleRow
from retrieval.workflows.workspace import Workspace

Run = Callable[..., Any]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def queued(registry: Registry, lease: LeaseRow, hour: int = 0) -> JobRow:
    row = ScheduleRow(model="feed", what="retrain", trigger="every 1h", next_due_at=None)
    job = registry.jobs.queue(lease, row, NOON + timedelta(hours=hour))
    assert job is not None
    return job


def running(registry: Registry, lease: LeaseRow, hour: int = 0) -> JobRow:
    job = registry.jobs.begin(lease, queued(registry, lease, hour).id, "run/jobs/1-1.log")
    progress = JobProgress(step="train", step_number=5, step_count=14, done=30, total=120, note="loss 2.1")
    return registry.jobs.report(job.id, lease.token, progress)


def test_jobs_are_listed_newest_first_with_how_far_they_are(
    run: Run, workspace: Workspace, registry: Registry, lease: LeaseRow
) -> None:
    running(registry, lease)
    queued(registry, lease, 1)
    ran = run("jobs", "list", "--workspace", workspace.root)
    assert ran.code == 0
    first = [line.split()[0] for line in ran.out.splitlines() if line.strip()]
    assert [word for word in first if word.isdigit()] == ["2", "1"]
    assert "train (5 of 14), 25 %" in ran.out
    listed = run("jobs", "list", "--state", "running", "--json", "--workspace", workspace.root).json
    assert [(row["id"], row["state"], row["due_at"]) for row in listed] == [(1, "running", "2026-01-01T12:00:00+00:00")]
    assert len(run("jobs", "list", "--limit", "1", "--json", "--workspace", workspace.root).json) == 1


def test_a_state_that_is_none_is_refused(run: Run, workspace: Workspace) -> None:
    ran = run("jobs", "list", "--state", "busy", "--workspace", workspace.root)
    assert ran.code == 2
    assert "--state 'busy': expected one of queued, running, done" in ran.err


def test_one_job_is_shown_and_watched_to_its_end(
    run: Run, workspace: Workspace, registry: Registry, lease: LeaseRow
) -> None:
    job = running(registry, lease)
    shown = run("jobs", "show", job.id, "--json", "--workspace", workspace.root).json
    assert (shown["step"], shown["done"], shown["total"], shown["holder"]) == ("train", 30, 120, "desk/1/abc")
    assert "step: train" in run("jobs", "show", job.id, "--workspace", workspace.root).out
    registry.jobs.finish(job.id, lease.token, "failed", "no disk")
    assert run("jobs", "show", job.id, "--watch", "--workspace", workspace.root).out == (
        "job 1 failed: train (5 of 14), 25 %; loss 2.1; no disk\n"
    )


def test_a_log_is_printed_and_followed(run: Run, workspace: Workspace, registry: Registry, lease: LeaseRow) -> None:
    job = running(registry, lease)
    absent = run("jobs", "logs", job.id, "--workspace", workspace.root)
    assert absent.code == 4
    assert "begun by desk/1/abc" in absent.err
    log = workspace.root / "run" / "jobs" / "1-1.log"
    log.parent.mkdir(parents=True)
    log.write_text("one\ntwo\nthree\n")
    assert run("jobs", "logs", job.id, "--tail", "2", "--workspace", workspace.root).out == "two\nthree\n"
    told = run("jobs", "logs", job.id, "--json", "--workspace", workspace.root).json
    assert told == {"job": 1, "log": str(log), "text": "one\ntwo\nthree\n"}
    registry.jobs.finish(job.id, lease.token, "done")
    assert run("jobs", "logs", job.id, "--follow", "--workspace", workspace.root).out == "one\ntwo\nthree\n"
    assert run("jobs", "logs", job.id, "--follow", "--json", "--workspace", workspace.root).code == 2


def test_a_job_is_cancelled_and_retried_and_both_are_in_the_audit_trail(
    run: Run, workspace: Workspace, registry: Registry, lease: LeaseRow
) -> None:
    job = running(registry, lease)
    assert "is asked to end before its next step" in run("jobs", "cancel", job.id, "--workspace", workspace.root).out
    assert "is asked to end now" in run("jobs", "cancel", job.id, "--now", "--workspace", workspace.root).out
    refused = run("jobs", "retry", job.id, "--json", "--workspace", workspace.root)
    assert (refused.code, refused.json["error"]) == (7, "ConflictError")
    registry.jobs.finish(job.id, lease.token, "refused", "too few events")
    assert run("jobs", "retry", job.id, "--force", " ", "--workspace", workspace.root).code == 2
    again = run("jobs", "retry", job.id, "--force", "a holiday", "--json", "--workspace", workspace.root).json
    assert (again["state"], again["forced"]) == ("queued", "a holiday")
    assert "job 1 is cancelled" in run("jobs", "cancel", job.id, "--workspace", workspace.root).out
    actions = [row.action for row in registry.audit(subject="job 1")]
    assert actions == ["job.cancel", "job.retry", "job.refused", "job.cancel", "job.cancel"]


def test_a_job_that_is_not_there_is_said_so(run: Run, workspace: Workspace) -> None:
    for verb in ("show", "logs", "cancel", "retry"):
        ran = run("jobs", verb, 7, "--workspace", workspace.root)
        assert ran.code == 4
        assert "job 7: not in the registry" in ran.err


def test_a_scheduler_with_nothing_to_do_says_what_to_set(run: Run, workspace: Workspace) -> None:
    ran = run("retrain", "schedule", "--workspace", workspace.root)
    assert ran.code == 2
    assert "nothing is scheduled" in ran.err
