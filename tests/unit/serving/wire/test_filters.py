from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import RequestError
from retrieval.filters.values import ValueColumn
from retrieval.index import AllOf, AnyOf, Filter, NoneOf, Range, SomeOf
from retrieval.serving.wire.filters import (
    column_message,
    filter_message,
    read_columns,
    read_filter,
    read_value_conditions,
    value_conditions,
)
from retrieval.v1 import filter_pb2

Condition, Conditions = filter_pb2.Condition, filter_pb2.Conditions
tests: st.SearchStrategy[Filter] = st.one_of(
    st.builds(AnyOf, st.just("colour"), st.lists(st.text(max_size=3), min_size=1, max_size=3).map(tuple)),
    st.builds(Range, st.just("price"), st.floats(-1, 1), st.none() | st.floats(-1, 1)),
)
nested = st.recursive(
    tests,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: SomeOf(tuple(parts))),
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: NoneOf(tuple(parts))),
        st.lists(inner, min_size=2, max_size=2).map(lambda parts: AllOf(tuple(parts))),
    ),
    max_leaves=5,
)


def flat(wanted: Filter) -> Filter:
    """Without conjunctions within conjunctions, as the wire has it."""
    if isinstance(wanted, (AnyOf, Range)):
        return wanted
    parts = tuple(flat(part) for part in wanted.filters)
    if not isinstance(wanted, AllOf):
        return type(wanted)(parts)
    return AllOf(tuple(one for part in parts for one in (part.filters if isinstance(part, AllOf) else [part])))


def depth(wanted: Filter) -> int:
    return 1 if isinstance(wanted, (AnyOf, Range)) else 1 + max(map(depth, wanted.filters))


@given(nested.filter(lambda wanted: depth(wanted) <= 8))
def test_nested_filters_survive_the_wire(wanted: Filter) -> None:
    message = filter_message(wanted)
    assert message is not None
    assert read_filter(filter_pb2.Filter.FromString(message.SerializeToString())) == flat(wanted)


def test_flags_and_real_numbers_keep_their_value_on_the_wire() -> None:
    message = filter_message(AnyOf("x", (True, 2, 1.5, "a")))
    assert message is not None
    assert read_filter(message) == AnyOf("x", ("true", "1.5", "a", 2))


def test_filters_survive_the_wire() -> None:
    wanted = AllOf((AnyOf("colour", ("red", "blue")), AllOf((Range("price", 1.0), Range("age", None, 3.0)))))
    message = filter_message(wanted)
    assert message is not None
    assert read_filter(message) == AllOf(
        (AnyOf("colour", ("red", "blue")), Range("price", 1.0), Range("age", None, 3.0))
    )
    assert read_filter(filter_pb2.Filter()) is None
    assert filter_message(None) is None


def test_a_condition_is_named_by_its_path() -> None:
    bad = Condition(field="x", range=filter_pb2.Range())
    good = Condition(field="y", range=filter_pb2.Range(maximum=1))
    inner = Condition(none=Conditions(conditions=[bad]))
    message = filter_pb2.Filter(conditions=[good, good, Condition(some=Conditions(conditions=[inner, good]))])
    with pytest.raises(
        RequestError, match=r"^filter\.conditions\[2\]\.some\.conditions\[0\]\.none\.conditions\[0\]: range has"
    ):
        read_filter(message)


def chained(levels: int) -> filter_pb2.Filter:
    """A test within `levels` - 1 conditions, each of them holding the next."""
    condition = Condition(field="y", range=filter_pb2.Range(maximum=1))
    for _ in range(levels - 1):
        condition = Condition(none=Conditions(conditions=[condition]))
    return filter_pb2.Filter(conditions=[condition])


def test_filters_may_be_nested_eight_deep() -> None:
    assert isinstance(read_filter(chained(8)), NoneOf)
    with pytest.raises(RequestError, match=r"none\.conditions: nested 9 deep; at most 8"):
        read_filter(chained(9))


@pytest.mark.parametrize("count", [64, 65])
def test_conditions_of_all_levels_are_counted(count: int) -> None:
    one = Condition(field="y", range=filter_pb2.Range(maximum=1))
    half = Condition(some=Conditions(conditions=[one] * 31))
    message = filter_pb2.Filter(conditions=[half, Condition(all=Conditions(conditions=[one] * (count - 33)))])
    if count == 64:
        assert isinstance(read_filter(message), AllOf)
        return
    with pytest.raises(RequestError, match=r"conditions\[1\]\.all\.conditions: 65 conditions"):
        read_filter(message)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({}, "field is empty"),
        ({"field": "x"}, "no test"),
        ({"some": {}}, "some: no conditions"),
        ({"field": "x", "none": {"conditions": [{"field": "y"}]}}, "'x' beside none"),
        ({"field": "x", "any_of": {}}, "0 values"),
        ({"field": "x", "any_of": {"integers": range(10_001)}}, "10001 values"),
        ({"field": "x", "range": {}}, "neither"),
        ({"field": "x", "range": {"minimum": float("nan")}}, "NaN"),
    ],
)
def test_a_condition_that_means_nothing_is_refused(condition: dict[str, Any], said: str) -> None:
    message = filter_pb2.Filter(
        conditions=[
            filter_pb2.Condition(field="y", range=filter_pb2.Range(maximum=1)),
            filter_pb2.Condition(**condition),
        ]
    )
    with pytest.raises(RequestError, match=rf"conditions\[1\].*{said}"):
        read_filter(message)


def test_too_many_conditions_are_refused() -> None:
    one = filter_pb2.Condition(field="y", range=filter_pb2.Range(maximum=1))
    with pytest.raises(RequestError, match="65 conditions"):
        read_filter(filter_pb2.Filter(conditions=[one] * 65))


@pytest.mark.parametrize(
    "values", [(("a",), (), ("b",)), ((3,), (2**40,)), ((1.5,), ()), ((True,), (False,)), ((), ())]
)
@pytest.mark.parametrize("several", [False, True])
def test_values_of_attributes_there_and_back(values: tuple[tuple[Any, ...], ...], several: bool) -> None:
    given = ValueColumn((*values, *((values[0] * 2,) if several else ())), several)
    message = filter_pb2.AttributeColumn.FromString(column_message("x", given).SerializeToString())
    assert read_columns([message]) == {"x": given}


def test_excluded_values_there_and_back() -> None:
    given = (AnyOf("series", ("a", "b", 3)), AnyOf("family", (1,)))
    assert read_value_conditions(value_conditions(given)) == given
    ends = filter_pb2.Range(minimum=1)
    with pytest.raises(RequestError, match=r"exclude_values\[0\]: a range"):
        read_value_conditions([filter_pb2.Condition(field="price", range=ends)])
    with pytest.raises(RequestError, match=r"exclude_values\[0\]: no test"):
        read_value_conditions([filter_pb2.Condition(field="price")])
