from __future__ import annotations

import logging

import pytest

from retrieval.observability import SILENT, Reached, set_up_logs, told_to, track
from retrieval.observability import progress as progress_module


def test_a_log_file_gets_lines_with_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, 1.0, 6.0, 7.0, 12.0])
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(now))
    with track("Reading", 1000, unit="rows") as tracker:
        for _ in range(4):
            tracker.advance(100, "fine")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "Reading: 200 of 1,000 rows (33/s, 24 s left) fine",
        "Reading: 400 of 1,000 rows (33/s, 18 s left) fine",
    ]


def test_a_long_line_stays_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 9.0])
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(now))
    with track("Reading", None) as tracker:
        tracker.advance(1, "x" * 300)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_nothing_is_shown_when_not_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with track("Reading", 10, show=False) as tracker:
        tracker.advance(10)
    assert tracker is SILENT
    assert capsys.readouterr().err == ""


def test_logs_go_to_stderr_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("retrieval")
    before = logger.handlers[:], logger.level, logger.propagate
    try:
        set_up_logs()
        logging.getLogger("retrieval.somewhere").info("host=%s build=%s", "ann-0", "demo-b1")
        line = capsys.readouterr().err
        assert "INFO" in line
        assert "retrieval.somewhere host=ann-0 build=demo-b1" in line
    finally:
        logger.handlers[:], logger.level, logger.propagate = before[0], before[1], before[2]


def test_a_listener_is_told_how_far_work_is_shown_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[Reached] = []
    with told_to(told.append), track("Reading", 10, unit="rows", show=False) as tracker:
        tracker.advance(4)
        tracker.advance(6, "fine")
    with track("Writing", 10, show=False) as tracker:
        tracker.advance(10)
    assert [(one.title, one.done, one.total, one.unit, one.note) for one in told] == [
        ("Reading", 0, 10, "rows", ""),
        ("Reading", 4, 10, "rows", ""),
        ("Reading", 10, 10, "rows", "fine"),
    ]
    assert capsys.readouterr().err == ""


def test_a_listener_takes_nothing_from_what_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, 9.0])
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(now))
    with told_to(lambda _: None), track("Reading", None) as tracker:
        tracker.advance(3)
    assert capsys.readouterr().err.startswith("Reading: 3")
