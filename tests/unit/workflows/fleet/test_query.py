"""Questions as they are typed become requests."""

from __future__ import annotations

import pytest

from retrieval.errors import ConfigError
from retrieval.workflows.fleet.query import TypedQuery, attribute_texts, request_message


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
        (TypedQuery(user_id="u", seen_by_events=3), "--seen-by-events: name the attribute"),
        (TypedQuery(user_id="u", context=("hour",)), "--context 'hour': expected COLUMN=VALUE"),
        (TypedQuery(user_id="u", filters=("price=a..2",)), "--filter price: 'a' is not a number"),
    ],
)
def test_what_cannot_be_read_names_its_flag(typed: TypedQuery, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        request_message(typed)


def test_what_counts_as_seen_is_sent_where_it_is_typed() -> None:
    typed = TypedQuery(user_id="u", seen_by=("series",), seen_by_events=3, attributes=("title",))
    request = request_message(typed)
    assert (list(request.seen_by.attributes), request.seen_by.events) == (["series"], 3)
    assert list(request.attributes) == ["title"]
    assert not request_message(TypedQuery(user_id="u")).HasField("seen_by")


def test_attributes_are_shown_as_text() -> None:
    column = {"name": "tags", "ends": [2, 2, 3], "texts": ["a", "b", "c"], "integers": [], "numbers": [], "flags": []}
    assert attribute_texts({"attributes": [column]}) == {"tags": ["a, b", "", "c"]}
    assert attribute_texts({}) == {}
