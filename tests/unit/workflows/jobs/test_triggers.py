from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from retrieval.errors import ConfigError
from retrieval.workflows.jobs.triggers import cron_trigger, interval_trigger, next_due, schedules
from retrieval.workflows.retrain.config import RetrainConfig
from retrieval.workflows.workspace import Workspace
from tests.tiny import make_workspace

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)


def test_an_interval_is_due_at_its_multiples_whenever_it_is_asked() -> None:
    every = interval_trigger("6h")
    assert next_due(every, None, datetime(2026, 3, 28, 13, 7, tzinfo=UTC)) == datetime(2026, 3, 28, 18, tzinfo=UTC)
    assert next_due(every, None, NOON) == datetime(2026, 3, 28, 18, tzinfo=UTC)
    assert next_due(every, NOON, datetime(2027, 1, 1, tzinfo=UTC)) == datetime(2026, 3, 28, 18, tzinfo=UTC)


def test_a_cron_line_is_of_its_time_zone_summer_time_included() -> None:
    daily = cron_trigger("30 6 * * *", "Europe/Berlin")
    first = next_due(daily, None, NOON)
    assert first == datetime(2026, 3, 29, 4, 30, tzinfo=UTC)  # clocks went forward in that night
    assert next_due(daily, datetime(2026, 10, 24, 4, 30, tzinfo=UTC), NOON) == datetime(2026, 10, 25, 5, 30, tzinfo=UTC)


def test_days_of_the_week_have_names() -> None:
    assert next_due(cron_trigger("0 6 * * MON", "UTC"), None, NOON) == datetime(2026, 3, 30, 6, tzinfo=UTC)
    assert next_due(cron_trigger("0 6 * * */2", "UTC"), None, NOON) is not None
    with pytest.raises(ValueError, match="have names here, as in mon-fri"):
        cron_trigger("0 6 * * 1-5", "UTC")


def test_the_settings_say_what_is_scheduled() -> None:
    (cron,) = schedules(RetrainConfig(cron="0 * * * *", timezone="Europe/Berlin"))
    assert (cron.what, cron.words) == ("retrain", "cron 0 * * * * Europe/Berlin")
    (every,) = schedules(RetrainConfig(every="90m"))
    assert (every.what, every.words) == ("retrain", "every 90m")
    with pytest.raises(ConfigError, match=r"nothing is scheduled; set .*under \[retrain\]"):
        schedules(RetrainConfig())


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('cron = "0 * * *"', "cron '0 \\* \\* \\*': expected five fields"),
        ('cron = "61 * * * *"', "cron '61 .*"),
        ('cron = "0 0 31 2 *"', "there is no such day"),
        ('cron = "0 6 * * 1-5"', "have names here"),
        ('timezone = "Mars/Olympus"', "timezone 'Mars/Olympus': not known"),
        ('every = "soon"', r"retrieval\.toml:2: retrain.every: expected a length of time"),
        ('every = "0.5s"', "at least 1s"),
        ('cron = "0 * * * *"\nevery = "1h"', "one of them says when"),
    ],
)
def test_settings_that_say_no_moment_are_refused(tmp_path: Path, lines: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_workspace(tmp_path, f"[retrain]\n{lines}\n")


def test_a_schedule_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_workspace(tmp_path, "")
    monkeypatch.setenv("RETRIEVAL_RETRAIN__EVERY", "6h")
    assert Workspace.open(made.root).settings.retrain.every == "6h"
