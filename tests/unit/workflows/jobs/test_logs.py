from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from retrieval.errors import NotFoundError
from retrieval.registry import JobRow
from retrieval.workflows.jobs.logs import followed, log_name, log_path, newest_lines, remove_logs


def job(log: str = "", attempts: int = 0) -> JobRow:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return JobRow(
        id=12, model="feed", what="retrain", due_at=at, state="queued", forced="", attempts=attempts, token=1,
        holder="elsewhere/7", step="", step_number=0, step_count=0, done=0, total=None, note="", log=log, cancel="",
        queued_at=at, started_at=None, heartbeat_at=None, finished_at=None, error="",
    )  # fmt: skip


def test_each_attempt_has_a_log_of_its_own() -> None:
    assert [log_name(job(attempts=attempts)) for attempts in (0, 1)] == ["run/jobs/12-1.log", "run/jobs/12-2.log"]


def test_a_log_that_is_not_here_says_where_it_may_be(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="never begun"):
        log_path(tmp_path, job())
    with pytest.raises(NotFoundError, match=r"run/jobs/12-1\.log here; it was begun by elsewhere/7"):
        log_path(tmp_path, job("run/jobs/12-1.log"))


@pytest.mark.parametrize("count", [0, 1, 3, 5000, 100_000])
def test_the_newest_lines_are_read_from_the_end(tmp_path: Path, count: int) -> None:
    lines = [f"line {number} ü\n" for number in range(20_000)] + ["the last, not ended"]
    path = tmp_path / "log"
    path.write_text("".join(lines), encoding="utf-8")
    assert newest_lines(path, count) == "".join(lines[len(lines) - min(count, len(lines)) :])


def test_following_reads_what_was_written_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("seen\n")
    asked: list[int] = []

    def ended() -> bool:
        asked.append(1)
        with path.open("a") as out:
            out.write(f"more {len(asked)}\n")
        return len(asked) == 2

    assert "".join(followed(path, 5, ended)) == "more 1\nmore 2\n"


def test_logs_go_with_their_job(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "jobs"
    folder.mkdir(parents=True)
    for name in ("12-1.log", "12-2.log", "1-12.log", "121-1.log"):
        (folder / name).touch()
    remove_logs(tmp_path, job())
    assert sorted(path.name for path in folder.iterdir()) == ["1-12.log", "121-1.log"]
