"""When jobs are due: cron lines and intervals of the settings, as triggers of APScheduler."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from retrieval.config import parse_seconds
from retrieval.errors import ConfigError

if TYPE_CHECKING:
    from retrieval.workflows.retrain.config import RetrainConfig

_WEEKDAY_NUMBER = re.compile(r"(?<!/)\b\d")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Trigger(Protocol):
    """What APScheduler asks for the next moment."""

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """The first moment after `previous`, or, without one, not before `now`; None: never again."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One kind of job, when it is due, and that in the words of the settings."""

    what: str
    trigger: Trigger
    words: str


def schedules(config: RetrainConfig) -> list[Schedule]:
    """What the settings schedule. Raises ConfigError where that is nothing."""
    if config.cron:
        words = f"cron {config.cron} {config.timezone}"
        return [Schedule("retrain", cron_trigger(config.cron, config.timezone), words)]
    if config.every:
        return [Schedule("retrain", interval_trigger(config.every), f"every {config.every}")]
    raise ConfigError(
        'nothing is scheduled; set `cron = "0 * * * *"` or `every = "6h"` under [retrain] in retrieval.toml'
    )


def cron_trigger(line: str, timezone: str) -> Trigger:
    """The trigger of a cron line of five fields, in that time zone. Raises ValueError.

    Days of the week have names: numbers mean other days to APScheduler (0 is Monday) than to cron (0 is Sunday).
    """
    from apscheduler.triggers.cron import CronTrigger

    fields = line.split()
    if len(fields) != 5:
        raise ValueError("expected five fields: minute, hour, day of the month, month, day of the week")
    if _WEEKDAY_NUMBER.search(fields[4]):
        raise ValueError(
            "days of the week have names here, as in mon-fri: numbers mean different days to different programs"
        )
    trigger: Trigger = CronTrigger.from_crontab(line.lower(), timezone=ZoneInfo(timezone))
    if trigger.get_next_fire_time(None, datetime.now(UTC)) is None:
        raise ValueError("there is no such day")
    return trigger


def check_cron(line: str, timezone: str) -> None:
    """Raise ValueError where the time zone, or a cron line that isn't empty, can't be used."""
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"timezone {timezone!r}: not known; expected one such as UTC or Europe/Berlin") from None
    if line:
        try:
            cron_trigger(line, timezone)
        except ValueError as error:
            raise ValueError(f"cron {line!r}: {error}") from error


def interval_trigger(text: str) -> Trigger:
    """The trigger of a length of time, as `6h`: at its multiples since 1970, whenever a scheduler starts.

    Raises ValueError.
    """
    from apscheduler.triggers.interval import IntervalTrigger

    seconds = parse_seconds(text)
    if not 1 <= seconds <= 366 * 86400:
        raise ValueError("expected at least 1s, and a year at most")
    trigger: Trigger = IntervalTrigger(seconds=round(seconds), start_date=_EPOCH, timezone=UTC)
    return trigger


def next_due(trigger: Trigger, after: datetime | None, now: datetime) -> datetime | None:
    """The first moment that is due after `after`, in UTC; without it, after `now`; None: never."""
    latest = now if after is None else max(after, now)  # a clock that was set back makes nothing due again
    found = trigger.get_next_fire_time(after, latest + timedelta(microseconds=1))
    return None if found is None else found.astimezone(UTC)
