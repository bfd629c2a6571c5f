"""Lengths of time and moments as people type them, and lengths of time for people to read."""

from __future__ import annotations

from retrieval.config import parse_seconds
from retrieval.data.config import parse_moment
from retrieval.errors import ConfigError


def read_seconds(flag: str, text: str) -> float:
    """Seconds from `30s`, `5m`, `1.5h`, `1d`, or a plain number of seconds. Raises ConfigError that names the flag."""
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise ConfigError(f"{flag} {text!r}: {error}") from error


def read_moment(flag: str, text: str | None) -> int | None:
    """µs since 1970 from an ISO 8601 moment (UTC where no zone is given); None for None. Raises ConfigError."""
    if text is None:
        return None
    try:
        return parse_moment(text)
    except ValueError as error:
        raise ConfigError(f"{flag} {text!r}: not a moment such as 2017-10-10T12:00: {error}") from error


def shown_seconds(seconds: float) -> str:
    """A length of time with two digits that matter: 42 s, 5 min, 3.2 h, 12 days."""
    for size, unit in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size or (unit != "days" and seconds >= size):
            amount = seconds / size
            return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 or not seconds else f"{seconds:.1f} s"
