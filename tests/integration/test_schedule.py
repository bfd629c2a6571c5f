"""Schedulers as real processes on one registry: one leads, what is due is done once, whatever happens to them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from retrieval.registry import JobRow, Registry, ScheduleRow
from retrieval.workflows.jobs.leading import lease_name
from retrieval.workflows.retrain.chain import STEPS as CHAIN
from retrieval.workflows.workspace import Workspace
from tests.integration.scheduled import STEPS
from tests.retraining import retrain_workspace
from tests.tiny import make_workspace

ROOT = Path(__file__).parents[2]
SETTINGS = '[model]\nname = "feed"\n[alerts]\nfirst_wait_s = 0.1\n'
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PATIENCE_S = 90.0


class World:
    """A workspace, and the schedulers that run on it."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.root = workspace, workspace.root
        self.registry: Registry = workspace.registry()
        self.schedulers: list[subprocess.Popen[bytes]] = []

    def was_due(self, what: str = "work") -> None:
        """Something was due at noon of a day long ago, and missed ever since."""
        model = self.workspace.model
        lease = self.registry.leases.take(lease_name(model), "test", 60)
        assert lease is not None
        row = ScheduleRow(model=model, what=what, trigger="every 1h", next_due_at=NOON)
        self.registry.jobs.set_schedule(lease, row)
        self.registry.leases.release(lease)

    def scheduler(self, every: str = "1h", *argv: str) -> subprocess.Popen[bytes]:
        log = (self.root / f"scheduler-{len(self.schedulers)}.log").open("wb")
        itself = ("tests.integration.scheduled", "schedule", str(self.root), every)
        with log:
            argv = (sys.executable, "-m", *(argv or itself))
            self.schedulers.append(subprocess.Popen(argv, cwd=ROOT, stdout=log, stderr=log))
        return self.schedulers[-1]

    def hold(self, step: str) -> None:
        (self.root / f"hold-{step}").touch()

    def let_go(self, step: str) -> None:
        (self.root / f"hold-{step}").unlink()

    def job(self) -> JobRow | None:
        found = self.registry.jobs.list()
        return found[-1] if found else None

    def until(self, holds: Callable[[JobRow], bool]) -> JobRow:
        """The first job, once this holds of it."""
        found = wait_for(lambda: (row := self.job()) and (row if holds(row) else None), self.told)
        assert isinstance(found, JobRow)
        return found

    def marks(self) -> list[list[str]]:
        path = self.root / "marks"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def workers(self) -> list[int]:
        """Processes of jobs, in the order in which they began."""
        return [int(mark[2]) for mark in self.marks() if mark[0] == "begin"]

    def told(self) -> str:
        logs = [path.read_text() for path in sorted(self.root.glob("*.log")) + sorted(self.root.glob("run/jobs/*"))]
        return "\n".join([*logs, str(self.registry.jobs.list())])

    def close(self) -> None:
        for process in self.schedulers:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.registry.close()


def wait_for(holds: Callable[[], Any], told: Callable[[], str] = str) -> Any:
    by = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < by, told()
        time.sleep(0.05)
    return found


def is_gone(number: int) -> bool:
    try:
        return bool(psutil.Process(number).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(make_workspace(tmp_path, SETTINGS))
    yield made
    made.close()


def test_of_two_schedulers_one_runs_what_is_due_and_each_due_run_once(world: World) -> None:
    both = [world.scheduler("1s"), world.scheduler("1s")]

    def done() -> list[JobRow]:
        return world.registry.jobs.list("feed", states=["done"])

    wait_for(lambda: len(done()) >= 4, world.told)
    for process in both:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(PATIENCE_S) for process in both] == [0, 0]
    begun, ended = (Counter(mark[1] for mark in world.marks() if mark[0] == kind) for kind in ("begin", "end"))
    assert set(begun.values()) == {1}
    # one that the signal met between two steps waits in the queue
    assert set(ended) == {str(row.as_of_us) for row in done()}
    assert {row.state for row in world.registry.jobs.list("feed")} <= {"done", "superseded", "queued"}
    assert all(row.due_at.microsecond == 0 for row in world.registry.jobs.list("feed"))
    assert world.registry.jobs.alerts() == []
    taken = [row.details["holder"] for row in world.registry.audit(subject=lease_name("feed"))]
    assert len(set(taken)) == len(taken), "nobody led twice"


def test_a_job_of_a_leader_that_was_killed_is_taken_over_where_it_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETRIEVAL_RETRAIN__LEASE_S", "4.0")
    world.was_due()
    world.hold("train")
    first = world.scheduler()
    job = world.until(lambda row: row.step == "train" and row.done == 3)
    second = world.scheduler()
    first.kill()
    wait_for(lambda: is_gone(world.workers()[0]), world.told)
    again = world.until(lambda row: row.attempts == 2)
    assert again.token > job.token
    assert (again.id, again.due_at) == (job.id, job.due_at)
    world.let_go("train")
    world.until(lambda row: row.state == "done")
    assert Counter(mark[0] for mark in world.marks()) == {"begin": 2, "fetch": 1, "train": 1, "deploy": 1, "end": 1}
    (alert,) = world.registry.jobs.alerts()
    assert alert.kind == "taken_over"
    assert "was not heard of any more" in alert.message
    second.send_signal(signal.SIGTERM)
    assert second.wait(PATIENCE_S) == 0
    assert len(world.registry.jobs.list("feed")) == 1, "what was missed for months came once"


def test_a_leader_that_wakes_up_after_its_job_was_taken_over_does_no_harm(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETRIEVAL_RETRAIN__LEASE_S", "4.0")
    world.was_due()
    world.hold("train")
    first = world.scheduler()
    world.until(lambda row: row.step == "train")
    worker = world.workers()[0]
    first.send_signal(signal.SIGSTOP)
    world.scheduler()
    world.until(lambda row: row.attempts == 2)
    wait_for(lambda: is_gone(worker), world.told)  # by itself: nobody could tell it but the registry
    first.send_signal(signal.SIGCONT)
    wait_for(lambda: "no longer the leader" in (world.root / "scheduler-0.log").read_text(), world.told)
    world.let_go("train")
    world.until(lambda row: row.state == "done")
    assert Counter(mark[0] for mark in world.marks()) == {"begin": 2, "fetch": 1, "train": 1, "deploy": 1, "end": 1}
    assert first.poll() is None, "it waits to lead again"


def test_sigterm_ends_a_job_between_two_steps_and_the_next_scheduler_goes_on(world: World) -> None:
    world.was_due()
    world.hold("train")
    first = world.scheduler()
    world.until(lambda row: row.step == "train")
    first.send_signal(signal.SIGTERM)
    wait_for(lambda: "SIGTERM: the job ends before its next step" in world.told())
    assert first.poll() is None
    world.let_go("train")
    assert first.wait(PATIENCE_S) == 0
    row = world.job()
    assert row is not None
    assert (row.state, row.error) == ("queued", "stopped between two steps")
    assert [mark[0] for mark in world.marks()] == ["begin", "fetch", "train"]
    world.scheduler()
    world.until(lambda found: found.state == "done")
    assert [mark[0] for mark in world.marks()][3:] == ["begin", "deploy", "end"]
    assert world.registry.jobs.alerts() == []


def test_a_second_signal_ends_it_in_the_middle_of_a_step(world: World) -> None:
    world.was_due()
    world.hold("train")
    first = world.scheduler()
    world.until(lambda row: row.step == "train")
    first.send_signal(signal.SIGINT)
    wait_for(lambda: "SIGTERM: the job ends before its next step" in world.told())
    first.send_signal(signal.SIGINT)
    assert first.wait(PATIENCE_S) == 0
    assert is_gone(world.workers()[0])
    row = world.job()
    assert row is not None
    assert (row.state, row.error) == ("queued", "stopped in the middle of a step")


def test_a_job_is_cancelled_before_its_next_step_or_now(world: World) -> None:
    world.was_due()
    world.hold("train")
    world.scheduler()
    job = world.until(lambda row: row.step == "train")
    command(world, "cancel", job.id)
    # it is in the middle of a step: asked, not ended
    assert world.registry.jobs.get(job.id).state == "running"
    world.let_go("train")
    world.until(lambda row: row.state == "cancelled")
    assert [mark[0] for mark in world.marks()] == ["begin", "fetch", "train"]
    world.hold("deploy")
    command(world, "retry", job.id)
    world.until(lambda row: row.step == "deploy" and row.state == "running")
    command(world, "cancel", job.id, "--now")
    row = world.until(lambda found: found.state == "cancelled")
    assert row.error == "cancelled in the middle of deploy"
    wait_for(lambda: is_gone(world.workers()[-1]))
    assert world.registry.jobs.alerts() == []


def test_a_job_whose_process_is_killed_is_begun_again(world: World) -> None:
    world.was_due()
    world.hold("train")
    world.scheduler()
    world.until(lambda row: row.step == "train")
    os.kill(world.workers()[0], signal.SIGKILL)
    row = world.until(lambda found: found.state == "queued")
    assert "ended by signal 9" in row.error
    world.let_go("train")
    world.until(lambda found: found.state == "done")
    assert [alert.kind for alert in world.registry.jobs.alerts()] == ["taken_over"]


def test_refused_and_failed_jobs_alert_a_server_and_are_retried(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if len(got) == 1 else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("RETRIEVAL_ALERTS__WEBHOOK", f"http://127.0.0.1:{server.server_port}/hush-hush")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    try:
        world.was_due()
        (world.root / "fail-train").write_text("data")
        world.scheduler()
        job = world.until(lambda row: row.state == "failed")
        assert job.error == "train went wrong"
        (world.root / "fail-train").write_text("gate")
        command(world, "retry", job.id)
        world.until(lambda row: row.state == "refused")
        wait_for(lambda: [alert.state for alert in world.registry.jobs.alerts()] == ["sent", "sent"], world.told)
        command(world, "retry", job.id, "--force", "seen by Anna")
        world.until(lambda row: row.state == "done")
    finally:
        server.shutdown()
        server.server_close()
    assert [one["kind"] for one in got] == ["failed", "failed", "refused"]
    assert got[0] == got[1], "the first answer was an error: it was sent again"
    assert got[2]["text"].startswith("retrieval: work of feed, due at ")
    assert "train went wrong" in got[2]["message"]
    assert len({mark[1] for mark in world.marks()}) == 1, "a retry works on the moment that was due"
    assert "hush-hush" not in world.told()


def test_progress_and_logs_are_seen_from_another_terminal(world: World) -> None:
    world.was_due()
    world.hold("train")
    world.scheduler()
    job = world.until(lambda row: row.step == "train" and row.done == 3)
    assert (job.step_number, job.step_count, job.total, job.note) == (2, len(STEPS), 4, "doing train (parts): nearly")
    watching = subprocess.Popen(
        retrieval("show", str(job.id), "--watch", "--json", "--workspace", str(world.root)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    first = json.loads(watching.stdout.readline())
    assert (first["step"], first["done"]) == ("train", 3)
    world.let_go("train")
    lines = [json.loads(line) for line in watching.stdout]
    assert watching.wait() == 0
    watching.stdout.close()
    assert lines[-1]["state"] == "done"
    shown = command(world, "logs", job.id)
    assert f"job {job.id}: work as of" in shown
    assert f"job {job.id} is done" in shown


def test_the_chain_is_run_when_it_is_due_and_one_that_a_gate_refused_may_be_forced(tmp_path: Path) -> None:
    workspace = retrain_workspace(tmp_path / "shop", more='[retrain]\nevery = "1h"\n')
    world = World(workspace)
    try:
        world.was_due("retrain")
        scheduler = world.scheduler("", "retrieval.cli.main", "retrain", "schedule", "--workspace", str(world.root))
        job = world.until(lambda row: row.state == "refused")
        assert (job.what, job.step) == ("retrain", "check_data")
        assert "last event" in job.error
        command(world, "retry", job.id, "--force", "a log of long ago")
        done = world.until(lambda row: row.state in {"done", "failed"})
        assert (done.state, done.step, done.step_number) == ("done", "collect", len(CHAIN)), world.told()
        active = world.registry.active_build(workspace.model)
        assert active is not None
        (run, _) = world.registry.retraining.runs(workspace.model)
        assert (run.as_of_us, run.forced) == (job.as_of_us, "a log of long ago")
        scheduler.send_signal(signal.SIGTERM)
        assert scheduler.wait(PATIENCE_S) == 0
    finally:
        world.close()


def command(world: World, verb: str, job: int, *flags: str) -> str:
    argv = retrieval(verb, str(job), *flags, "--workspace", str(world.root))
    return subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def retrieval(*words: str) -> list[str]:
    return [sys.executable, "-m", "retrieval.cli.main", "jobs", *words]
