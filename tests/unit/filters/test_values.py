"""Values of attributes: the rows that have them, and those of some rows; against slow and obvious references."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import RequestError
from retrieval.filters.attributes import Attributes, attribute_table
from retrieval.filters.filter import AnyOf
from retrieval.filters.values import ValueColumn
from tests.items import make_items

texts = st.lists(st.none() | st.sampled_from("abcd"), max_size=20)
lists = st.lists(st.none() | st.lists(st.none() | st.integers(-2, 3), max_size=3), max_size=20)


def attributes_of(columns: dict[str, pa.Array]) -> Attributes:
    table = pa.table(columns)
    stored = attribute_table(table, list(columns))
    return Attributes({name: stored[name] for name in stored.column_names}, table.num_rows)


@given(texts, st.lists(st.sampled_from("abcdz"), min_size=1, max_size=4))
def test_rows_of_a_text(values: list[str | None], wanted: list[str]) -> None:
    attributes = attributes_of({"series": pa.array(values, pa.string())})
    for _ in range(2):
        found = attributes.rows_with(AnyOf("series", tuple(wanted)))
        assert found.dtype == np.uint32
        assert {*found.tolist()} == {row for row, value in enumerate(values) if value in wanted}


@given(lists, st.lists(st.integers(-3, 4), min_size=1, max_size=4))
def test_rows_of_any_value_of_a_list(values: list[list[int | None] | None], wanted: list[int]) -> None:
    attributes = attributes_of({"families": pa.array(values, pa.list_(pa.int64()))})
    found = {*attributes.rows_with(AnyOf("families", tuple(wanted))).tolist()}
    assert found == {row for row, several in enumerate(values) if {*wanted} & {*(several or [])}}


def test_values_of_some_rows() -> None:
    items = make_items(30)
    names = ["colour", "genres", "year", "price", "on_sale"]
    stored = attribute_table(items, names)
    attributes = Attributes({name: stored[name] for name in names}, 30)
    rows = np.array([3, 0, 29, 6], np.uint32)
    for name in names:
        column = attributes.values(name, rows)
        plain = [items[name].to_pylist()[row] for row in rows]
        assert column.several == (name == "genres")
        assert column.values == tuple(
            tuple(value or ()) if name == "genres" else () if value is None else (value,) for value in plain
        )
    assert ValueColumn(((), ("a",))).to_arrow().to_pylist() == [None, "a"]
    assert ValueColumn(((), ("a", "b")), several=True).to_arrow().to_pylist() == [None, ["a", "b"]]


@pytest.mark.parametrize(("field", "message"), [("price", "holds reals"), ("on_sale", "holds flags"), ("x", "unknown")])
def test_what_items_cannot_share_is_refused(field: str, message: str) -> None:
    items = make_items(30)
    stored = attribute_table(items, ["price", "on_sale"])
    attributes = Attributes({name: stored[name] for name in stored.column_names}, 30)
    with pytest.raises(RequestError, match=message):
        attributes.rows_with(AnyOf(field, ("1",)))
