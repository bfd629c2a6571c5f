"""Lengths of time and moments on the command line."""

from __future__ import annotations

import pytest

from retrieval.cli.times import read_moment, read_seconds, shown_seconds
from retrieval.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("30s", 30), ("5m", 300), ("1.5h", 5400), ("1d", 86400), (" 2s ", 2), ("0.5s", 0.5)],
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert read_seconds("--every", text) == seconds


@pytest.mark.parametrize("text", ["", "m", "0", "0s", "-5m", "5 m", "5w", "soon", "1e3"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--every .*expected a length of time, as 30s, 5m"):
        read_seconds("--every", text)


def test_moments() -> None:
    assert read_moment("--as-of", None) is None
    assert read_moment("--as-of", "1970-01-01T00:00:01") == 1_000_000
    with pytest.raises(ConfigError, match="--as-of 'noon': not a moment"):
        read_moment("--as-of", "noon")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.4, "0.4 s"), (42, "42 s"), (60, "1.0 min"), (300, "5.0 min"), (3600, "1.0 h"), (90000, "25 h"),
     (86400 * 12, "12 days")],
)  # fmt: skip
def test_lengths_of_time_for_people(seconds: float, text: str) -> None:
    assert shown_seconds(seconds) == text
