from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retrieval.observability.alerts import AlertsConfig
from retrieval.registry import Registry, ScheduleRow
from retrieval.workflows.jobs.alerting import Alerting


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = Registry.create("sqlite:///registry.db", root=tmp_path)
    lease = made.leases.take("schedule/feed", "a", 600)
    assert lease is not None
    for hour in (1, 2):
        row = ScheduleRow(model="feed", what="retrain", trigger="every 1h", next_due_at=None)
        job = made.jobs.queue(lease, row, datetime(2026, 1, 1, hour, tzinfo=UTC))
        assert job is not None
        made.jobs.begin(lease, job.id)
        made.jobs.finish(job.id, lease.token, "refused" if hour == 1 else "failed", "no disk")
    yield made
    made.close()


def keeping(folder: Path) -> tuple[str, ...]:
    """A command that keeps what it is given, under the alert's id."""
    code = (
        "import json, pathlib, sys; told = json.load(sys.stdin); "
        f"pathlib.Path({str(folder)!r}, told['id'] + '.json').write_text(json.dumps(told))"
    )
    return (sys.executable, "-c", code)


def test_what_is_due_is_sent_once(registry: Registry, tmp_path: Path) -> None:
    alerting = Alerting(registry, "feed", AlertsConfig(command=keeping(tmp_path)))
    alerting.send_due()
    sent = sorted(tmp_path.glob("*.json"))
    assert [path.name for path in sent] == ["feed-alert-1.json", "feed-alert-2.json"]
    told = [json.loads(path.read_text()) for path in sent]
    assert [(one["kind"], one["job"]) for one in told] == [("refused", 1), ("failed", 2)]
    assert [row.state for row in registry.jobs.alerts()] == ["sent", "sent"]
    for path in sent:
        path.unlink()
    alerting.send_due()
    assert list(tmp_path.glob("*.json")) == []


def test_what_nobody_wants_is_put_aside(registry: Registry, tmp_path: Path) -> None:
    Alerting(registry, "feed", AlertsConfig(command=keeping(tmp_path), on=("failed",))).send_due()
    assert [path.name for path in tmp_path.glob("*.json")] == ["feed-alert-2.json"]
    assert [row.state for row in registry.jobs.alerts()] == ["given_up", "sent"]


def test_one_that_is_given_up_says_why(registry: Registry) -> None:
    Alerting(registry, "feed", AlertsConfig(command=("/no/such",))).send_due()
    assert {(row.state, row.note) for row in registry.jobs.alerts()} == {
        ("given_up", "command: can't be run (FileNotFoundError)")
    }


def test_one_that_the_end_cuts_short_stays_due(registry: Registry) -> None:
    failing = AlertsConfig(command=("/bin/false",), first_wait_s=3600.0)
    with Alerting(registry, "feed", failing):
        pass
    assert [row.state for row in registry.jobs.alerts()] == ["due", "due"]
