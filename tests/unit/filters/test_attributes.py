from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import retrieval.filters.attributes as attributes_module
from retrieval.errors import DataError, RequestError
from retrieval.filters.allowed import Allowed, RecentlyAllowed, all_rows
from retrieval.filters.attributes import Attributes, attribute_table
from retrieval.filters.filter import AllOf, AnyOf, Filter, NoneOf, Range, SomeOf
from tests.items import make_items


def attributes_of(table: pa.Table, names: list[str] | None = None) -> Attributes:
    columns = attribute_table(table, names)
    return Attributes({name: columns[name] for name in columns.column_names}, table.num_rows)


def selected(table: pa.Table, wanted: Filter) -> list[int]:
    return attributes_of(table).allowed(wanted).rows.tolist()


def expected(table: pa.Table, field: str, test: Callable[[Any], bool]) -> list[int]:
    return [row for row, value in enumerate(table[field].to_pylist()) if value is not None and test(value)]


@pytest.fixture(scope="module")
def items() -> pa.Table:
    return make_items(200)


def test_any_of_text(items: pa.Table) -> None:
    found = selected(items, AnyOf("colour", ("red", "blue", "no such")))
    assert found == expected(items, "colour", lambda c: c in {"red", "blue"})
    assert found


def test_any_of_a_list_field_needs_one_of_its_values(items: pa.Table) -> None:
    assert selected(items, AnyOf("genres", ("g1", "g9"))) == expected(
        items, "genres", lambda g: bool({"g1", "g9"} & {*g})
    )


def test_numbers_flags_and_times(items: pa.Table) -> None:
    assert selected(items, AnyOf("year", (1991, "1992"))) == expected(items, "year", lambda y: y in {1991, 1992})
    assert selected(items, AnyOf("on_sale", (True,))) == expected(items, "on_sale", bool)
    assert selected(items, Range("price", 10, 20.5)) == expected(items, "price", lambda p: 10 <= p <= 20.5)
    assert selected(items, Range("year", minimum=2010)) == expected(items, "year", lambda y: y >= 2010)
    late = selected(items, Range("seen_at", minimum=150_000_000))  # microseconds since 1970
    assert late == [row for row in range(150, 200) if row % 7 != 6]


def test_and_of_nothing_is_everything_and_of_several_is_their_intersection(items: pa.Table) -> None:
    assert selected(items, AllOf(())) == list(range(200))
    both = AllOf((AnyOf("colour", ("red",)), Range("price", None, 50)))
    assert selected(items, both) == sorted(
        {*selected(items, AnyOf("colour", ("red",)))} & {*selected(items, Range("price", None, 50))}
    )


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        (AnyOf("no_such", ("a",)), "fields that can be filtered on: colour"),
        (AllOf((AnyOf("colour", ("red",)), Range("no_such", 1, 2))), "no_such"),
        (AnyOf("year", ("red",)), "whole number"),
        (AnyOf("year", (2**63,)), "whole number"),
        (AnyOf("year", (1.5,)), "whole number"),
        (AnyOf("year", (float("nan"),)), "whole number"),
        (AnyOf("colour", (3,)), "text"),
        (AnyOf("price", ("cheap",)), "number"),
        (AnyOf("on_sale", ("maybe",)), "true or false"),
        (Range("colour", 1, 2), "numeric"),
        (Range("price"), "minimum"),
        (Range("price", float("nan"), None), "not a number"),
    ],
)
def test_what_can_not_be_filtered_on_is_said(items: pa.Table, wanted: Filter, part: str) -> None:
    with pytest.raises(RequestError, match=part):
        selected(items, wanted)


def test_default_attributes_leave_out_the_id_and_unsuitable_types(items: pa.Table) -> None:
    assert attributes_of(items).fields == ["colour", "genres", "number", "on_sale", "price", "seen_at", "year"]
    vectors = items.append_column("content", pa.array([[0.5, 1.0]] * 200))
    assert "content" not in attributes_of(vectors).fields
    assert attributes_of(vectors, ["content"]).fields == ["content"]
    assert "colour" not in attribute_table(items, None, hidden=["colour"]).column_names
    with pytest.raises(DataError, match="blob"):
        attribute_table(items, ["blob"])
    with pytest.raises(DataError, match="no such column"):
        attribute_table(items, ["weight"])


def test_dictionary_and_chunked_columns() -> None:
    column = pa.chunked_array([pa.array(["a", None]).dictionary_encode(), pa.array(["b", "a"]).dictionary_encode()])
    table = pa.table({"kind": column, "tags": pa.chunked_array([[["x"], None], [[], ["y", None, "x"]]])})
    assert selected(table, AnyOf("kind", ("a",))) == [0, 3]
    assert selected(table, AnyOf("tags", ("x",))) == [0, 3]


def test_what_filters_left_is_kept_and_forgotten_within_a_bound(items: pa.Table) -> None:
    attributes = attributes_of(items)
    first = attributes.allowed(Range("price", 0, 1))
    assert attributes.allowed(Range("price", 0, 1)) is first
    for i in range(300):
        attributes.allowed(Range("price", 0, 2 + i))
    assert len(attributes._recent) <= 256
    assert attributes.allowed(Range("price", 0, 1)) is not first


def test_what_is_kept_counts_in_bytes_with_what_was_derived() -> None:
    recent = RecentlyAllowed(3000)
    for number in range(9):
        allowed = Allowed(all_rows(1000), 1000)
        assert len(allowed.mask) == 1000  # 128 bytes of bits, 1000 of mask
        recent.put(AnyOf("x", (number,)), allowed)
    assert len(recent) == 2
    assert recent.get(AnyOf("x", (8,))) is not None
    assert recent.get(AnyOf("x", (0,))) is None


def test_conditions_are_kept_on_their_own(items: pa.Table) -> None:
    attributes = attributes_of(items)
    either, cheap = AnyOf("colour", ("red", "blue")), Range("price", 0, 9)
    attributes.allowed(AllOf((either, NoneOf((cheap,)))))
    for part in (AnyOf("colour", ("red",)), either, cheap, NoneOf((cheap,))):
        assert attributes._recent.get(part) is not None


def test_missing_values_pass_only_negations(items: pa.Table) -> None:
    red = AnyOf("colour", ("red",))
    assert selected(items, NoneOf((red,))) == [r for r, c in enumerate(items["colour"].to_pylist()) if c != "red"]
    assert selected(items, NoneOf((NoneOf((red,)),))) == selected(items, red)
    assert selected(items, SomeOf(())) == []
    assert selected(items, NoneOf(())) == list(range(200))


def meets(item: dict[str, Any], wanted: Filter) -> bool:
    """What a filter means, one item at a time."""
    if isinstance(wanted, AllOf):
        return all(meets(item, part) for part in wanted.filters)
    if isinstance(wanted, SomeOf):
        return any(meets(item, part) for part in wanted.filters)
    if isinstance(wanted, NoneOf):
        return not any(meets(item, part) for part in wanted.filters)
    value = item[wanted.field]
    if value is None:
        return False
    if isinstance(wanted, AnyOf):
        return any(one in wanted.values for one in (value if isinstance(value, list) else [value]))
    return (wanted.minimum is None or value >= wanted.minimum) and (wanted.maximum is None or value <= wanted.maximum)


tests: st.SearchStrategy[Filter] = st.one_of(
    st.builds(AnyOf, st.just("colour"), st.lists(st.sampled_from(["red", "green", "mauve"]), max_size=3).map(tuple)),
    st.builds(AnyOf, st.just("genres"), st.lists(st.sampled_from(["g1", "g2", "g9"]), max_size=3).map(tuple)),
    st.builds(AnyOf, st.just("year"), st.lists(st.integers(1988, 2000), max_size=12).map(tuple)),
    st.builds(Range, st.just("price"), st.integers(0, 60), st.none() | st.integers(40, 99)),
)
parts = st.recursive(
    tests,
    lambda inner: st.builds(
        lambda kind, filters: kind(tuple(filters)),
        st.sampled_from([AllOf, SomeOf, NoneOf]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=12,
)


@settings(max_examples=200)
@given(wanted=parts, count=st.sampled_from([0, 1, 63, 64, 65, 200]))
def test_nested_filters_select_what_an_item_at_a_time_would(items: pa.Table, wanted: Filter, count: int) -> None:
    some = items.slice(0, count)
    allowed = attributes_of(some).allowed(wanted)
    expected = [row for row, item in enumerate(some.to_pylist()) if meets(item, wanted)]
    assert allowed.rows.tolist() == expected
    assert allowed.count == len(expected)


@settings(max_examples=60)
@given(
    values=st.lists(st.none() | st.sampled_from([-1.0, 0.0, 0.5, 2.0, 7.5]), max_size=30),
    low=st.none() | st.sampled_from([-2.0, 0.0, 0.5, 3.0]),
    high=st.sampled_from([-1.0, 0.5, 10.0]),
)
def test_ranges_agree_with_the_obvious_loop(values: list[float | None], low: float | None, high: float) -> None:
    table = pa.table({"x": pa.array(values, pa.float64())})
    wanted = [r for r, v in enumerate(values) if v is not None and (low is None or v >= low) and v <= high]
    assert selected(table, Range("x", low, high)) == wanted


def test_nan_is_in_no_range() -> None:
    assert selected(pa.table({"x": [np.nan, 1.0]}), Range("x", -np.inf, np.inf)) == [1]


def test_a_column_is_decoded_when_it_is_first_filtered_on(monkeypatch: pytest.MonkeyPatch, items: pa.Table) -> None:
    read: list[pa.DataType] = []
    real = attributes_module._read_column
    monkeypatch.setattr(attributes_module, "_read_column", lambda column: read.append(column.type) or real(column))
    attributes = attributes_of(items)
    assert "colour" in attributes.fields
    assert not read
    attributes.allowed(AnyOf("colour", ("red",)))
    attributes.allowed(AllOf((AnyOf("colour", ("blue",)), AnyOf("colour", ("red",)))))
    assert read == [pa.string()]
    with pytest.raises(RequestError, match="unknown field"):
        attributes.allowed(AnyOf("blob", ("x",)))


def test_an_unsuitable_column_is_refused_before_it_is_filtered_on() -> None:
    with pytest.raises(DataError, match="type binary"):
        Attributes({"blob": pa.chunked_array([pa.array([b"x"])])}, 1)


def test_numbers_without_a_gap_stay_where_they_are_stored() -> None:
    stored = pa.array([3, 1, 2], pa.int64())
    column = attributes_module._read_column(pa.chunked_array([stored]))
    assert column.values.__array_interface__["data"][0] == stored.buffers()[1].address
