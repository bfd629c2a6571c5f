"""Events as lines of JSON: what they may hold, and what is said of the others."""

from __future__ import annotations

import json

import pytest

from retrieval.data.config import DataConfig
from retrieval.data.event_log.event import Event
from retrieval.data.event_log.json_lines import Line, parse_lines

AT = 1_700_000_000_000_000
CONFIG = DataConfig(user_column="uid", context_columns=("device",))


def parsed(content: bytes | str) -> tuple[list[Event], list[str]]:
    events, bad = parse_lines([Line(content if isinstance(content, bytes) else content.encode(), "place")], CONFIG)
    return events, [one.reason for one in bad]


def test_a_line_has_the_columns_of_the_events() -> None:
    line = {"event_id": 5, "uid": 7, "item_id": "i", "timestamp": AT, "action": "save", "device": "desk", "other": [{}]}
    assert parsed(json.dumps(line)) == ([Event("5", "7", "i", AT, "save", {"device": "desk"})], [])
    inner = {"uid": "u", "item_id": "i", "timestamp": AT, "context": {"device": "tv", "page": None}}
    assert parsed(json.dumps(inner)) == ([Event("place", "u", "i", AT, "", {"device": "tv"})], [])


@pytest.mark.parametrize(
    "time", [AT, AT // 1000, AT // 1_000_000, AT * 1000, "2023-11-14T22:13:20Z", "2023-11-14T23:13:20+01:00", str(AT)]
)
def test_times_are_read_as_those_of_the_events_are(time: int | str) -> None:
    [event], _ = parsed(json.dumps({"uid": "u", "item_id": "i", "timestamp": time}))
    assert event.timestamp == AT


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"uid": "u"', "not valid JSON"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b'{"uid": "\\ud800", "item_id": "i", "timestamp": 1}', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        ("[1]", "list where a JSON object is expected"),
        ('{"item_id": "i", "timestamp": 1}', "uid is null; expected text or an integer"),
        ('{"uid": true, "item_id": "i", "timestamp": 1}', "uid is true"),
        ('{"uid": 1.5, "item_id": "i", "timestamp": 1}', "uid is 1.5"),
        ('{"uid": "u", "item_id": "i"}', "timestamp is null"),
        ('{"uid": "u", "item_id": "i", "timestamp": "soon"}', "which can't be read as a time"),
        ('{"uid": "u", "item_id": "i", "timestamp": NaN}', "which can't be read as a time"),
        (f'{{"uid": "u", "item_id": "i", "timestamp": {10**30}}}', "which can't be read as a time"),
        ('{"uid": "u", "item_id": "i", "timestamp": 1, "context": 3}', "context is 3"),
        ('{"uid": "u", "item_id": "i", "timestamp": 1, "device": {}}', "device is {}"),
        ('{"uid": "u", "item_id": "i", "timestamp": 1, "event_id": []}', "event_id is []"),
    ],
)
def test_other_lines_are_said_to_be_none(line: bytes | str, reason: str) -> None:
    events, [said] = parsed(line)
    assert events == []
    assert reason in said


def test_empty_lines_are_skipped_and_unreadable_ones_said() -> None:
    assert parsed(b" \r") == ([], [])
    assert [one.reason for one in parse_lines([Line(b"", "", "too long")], CONFIG)[1]] == ["too long"]
