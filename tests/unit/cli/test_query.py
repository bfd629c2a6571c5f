from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from retrieval.cli.query import _show


@pytest.mark.parametrize("truncated", [False, True])
def test_a_truncated_answer_is_shown_as_one(truncated: bool) -> None:
    answer: dict[str, Any] = {
        "item_ids": ["i1"],
        "scores": [0.5],
        "version_of_item": [],
        "versions": [{"model": "demo", "version": 1}],
        "user_known": True,
        "truncated": truncated,
        "new_items": 0,
        "ignored_columns": [],
    }
    out = io.StringIO()
    _show(Console(file=out, width=200), answer, explain=False)
    assert ("truncated" in out.getvalue()) == truncated


def test_ignored_columns_are_shown() -> None:
    answer = {
        "item_ids": [], "scores": [], "versions": [], "version_of_item": [], "user_known": True, "truncated": False,
        "new_items": 0,
        "ignored_columns": [
            {"column": "context.page", "reason": "REASON_UNKNOWN"}, {"column": "profile.age", "reason": "REASON_NAN"},
        ],
    }  # fmt: skip
    out = io.StringIO()
    _show(Console(file=out, width=200), answer, explain=False)
    assert "ignored: context.page (no feature reads it)" in out.getvalue()
    assert "ignored: profile.age (NaN counts as missing)" in out.getvalue()


def test_names_and_the_newest_events_are_shown_where_there_are_any() -> None:
    answer = {
        "item_ids": ["i1", "i2"], "scores": [0.5, 0.4], "versions": [{"model": "demo", "version": 1}],
        "version_of_item": [], "user_known": True, "truncated": False, "new_items": 0, "ignored_columns": [],
        "item_names": ["Vertigo", None],
        "history": [{"item_id": "i9", "timestamp": 1_700_000_000_000_000, "action": "", "item_name": "Rear Window"}],
    }  # fmt: skip
    out = io.StringIO()
    _show(Console(file=out, width=200), answer, explain=False)
    lines = [line.split() for line in out.getvalue().splitlines() if line.strip()]
    assert ["rank", "item", "name", "score", "version"] in lines
    assert ["1", "i1", "Vertigo", "0.5", "demo@1"] in [
        [*line[:3], line[3].rstrip("0"), *line[4:]] for line in lines if len(line) == 5
    ]
    assert ["2023-11-14T22:13:20+00:00", "i9", "Rear", "Window"] in lines
    assert "action" not in out.getvalue()
