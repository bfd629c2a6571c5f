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
        "ignored_columns": [],
    }
    out = io.StringIO()
    _show(Console(file=out, width=200), answer, explain=False)
    assert ("truncated" in out.getvalue()) == truncated


def test_ignored_columns_are_shown() -> None:
    answer = {
        "item_ids": [], "scores": [], "versions": [], "version_of_item": [], "user_known": True, "truncated": False,
        "ignored_columns": [
            {"column": "context.page", "reason": "REASON_UNKNOWN"}, {"column": "profile.age", "reason": "REASON_NAN"},
        ],
    }  # fmt: skip
    out = io.StringIO()
    _show(Console(file=out, width=200), answer, explain=False)
    assert "ignored: context.page (no feature reads it)" in out.getvalue()
    assert "ignored: profile.age (NaN counts as missing)" in out.getvalue()
