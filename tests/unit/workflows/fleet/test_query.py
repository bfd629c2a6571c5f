"""Questions as they are typed become requests."""

from __future__ import annotations

import pytest

from retrieval.errors import ConfigError
from retrieval.index import AllOf, AnyOf, NoneOf, Range
from retrieval.serving.wire.filters import read_filter
from retrieval.workflows.fleet.query import TypedQuery, parse_filters, request_message


def test_filters_as_they_are_typed() -> None:
    wanted = read_filter(parse_filters(["colour=red,blue", "price=1..", "colour!=green", "price!=2..3"]))
    assert wanted == AllOf(
        (
            AnyOf("colour", ("red", "blue")),
            Range("price", 1.0),
            NoneOf((AnyOf("colour", ("green",)),)),
            NoneOf((Range("price", 2.0, 3.0),)),
        )
    )
    assert parse_filters(()) is None


@pytest.mark.parametrize("text", ["colour!", "!red", "=red", "colour!=", "!=red"])
def test_a_filter_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected COLUMN=VALUE"):
        parse_filters([text])


def test_values_are_numbers_where_they_read_as_such() -> None:
    typed = TypedQuery(user_id="u", k=3, context=("hour=7", "price=1.5", "tags=a,2"), profile=("country=DE",))
    request = request_message(typed)
    assert (request.user_id, request.k, sorted(request.context)) == ("u", 3, ["hour", "price", "tags"])
    assert request.context["hour"].integer == 7
    assert request.context["price"].number == 1.5
    assert request.profile["country"].text == "DE"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (TypedQuery(user_id="u", k=-1), "--k -1"),
        (TypedQuery(user_id="u", context=("hour",)), "--context 'hour': expected COLUMN=VALUE"),
        (TypedQuery(user_id="u", filters=("price=a..2",)), "--filter price: 'a' is not a number"),
    ],
)
def test_what_cannot_be_read_names_its_flag(typed: TypedQuery, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        request_message(typed)
