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
    }
    out = io.StringIO()
    _show(Console(file=out, width=200), answer, explain=False)
    assert ("truncated" in out.getvalue()) == truncated
