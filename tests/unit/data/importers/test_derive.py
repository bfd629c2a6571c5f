from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.data.importers.derive import Derived, derive_table
from retrieval.errors import DataError

IDS = pa.array([0, 1, 2, 3])


def derived(rows: Sequence[tuple[int, object]], kind: pa.DataType, cut: int) -> list[object]:
    collected = Derived("column", kind)
    for part in (rows[:cut], rows[cut:]):
        collected.add(pa.array([one for one, _ in part], pa.int64()), pa.array([value for _, value in part], kind))
    return derive_table("id", IDS, {"column": collected}).column("column").to_pylist()


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, "", "a", "b", "c"])), max_size=30),
    cut=st.integers(0, 30),
)
def test_the_most_frequent_text(rows: list[tuple[int, str | None]], cut: int) -> None:
    expected = []
    for one in range(4):
        counts = Counter(value for user, value in rows if user == one and value)
        expected.append(min(counts, key=lambda value: (-counts[value], value)) if counts else None)
    assert derived(rows, pa.string(), cut) == expected


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, 1, 2, 5, 9])), max_size=30),
    cut=st.integers(0, 30),
)
def test_the_lower_median_of_numbers(rows: list[tuple[int, int | None]], cut: int) -> None:
    expected = []
    for one in range(4):
        values = sorted(value for user, value in rows if user == one and value is not None)
        expected.append(values[(len(values) - 1) // 2] if values else None)
    assert derived(rows, pa.int32(), cut) == expected


def test_other_types_are_refused() -> None:
    with pytest.raises(DataError, match=r"column 'tags' is of type list"):
        Derived("tags", pa.list_(pa.string()))
