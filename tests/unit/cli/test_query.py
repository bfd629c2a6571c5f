from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from retrieval.cli.query import _filter, _show
from retrieval.errors import ConfigError
from retrieval.index import AllOf, AnyOf, NoneOf, Range
from retrieval.serving.wire.filters import read_filter


def test_filters_as_they_are_typed() -> None:
    wanted = read_filter(_filter(["colour=red,blue", "price=1..", "colour!=green", "price!=2..3"]))
    assert wanted == AllOf(
        (
            AnyOf("colour", ("red", "blue")),
            Range("price", 1.0),
            NoneOf((AnyOf("colour", ("green",)),)),
            NoneOf((Range("price", 2.0, 3.0),)),
        )
    )
    assert _filter(None) is None


@pytest.mark.parametrize("text", ["colour!", "!red", "=red", "colour!=", "!=red"])
def test_a_filter_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected COLUMN=VALUE"):
        _filter([text])


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
