"""Filters as they are typed."""

from __future__ import annotations

import pytest

from retrieval.errors import ConfigError
from retrieval.filters.filter import AllOf, AnyOf, NoneOf, Range
from retrieval.filters.text import parse_filters
from retrieval.serving.wire.filters import filter_message, read_filter


def test_filters_as_they_are_typed() -> None:
    wanted = parse_filters(["colour=red,blue", "price=1..", "colour!=green", "price!=2..3"])
    assert read_filter(filter_message(wanted)) == wanted  # as they are sent
    assert wanted == AllOf(
        (
            AnyOf("colour", ("red", "blue")),
            Range("price", 1.0),
            NoneOf((AnyOf("colour", ("green",)),)),
            NoneOf((Range("price", 2.0, 3.0),)),
        )
    )
    assert parse_filters(["price=..2"]) == Range("price", None, 2.0)
    assert parse_filters(()) is None
    assert filter_message(None) is None


@pytest.mark.parametrize("text", ["colour!", "!red", "=red", "colour!=", "!=red"])
def test_a_filter_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected COLUMN=VALUE"):
        parse_filters([text])
