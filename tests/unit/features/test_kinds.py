"""Each kind of feature: bulk equals row by row, missing and unknown values, wrong types, absurd sizes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.errors import RequestError
from retrieval.features.columns import Column
from retrieval.features.declaration import Declaration
from retrieval.features.kinds.age import AgeFeature
from retrieval.features.kinds.categorical import CategoricalFeature
from retrieval.features.kinds.multi_categorical import MultiCategoricalFeature
from retrieval.features.kinds.numeric import NumericFeature
from retrieval.features.kinds.since_last import SinceLastFeature
from retrieval.features.kinds.text import TextFeature
from retrieval.features.kinds.time import TimeFeature
from retrieval.features.kinds.vector import VectorFeature

TEXT = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=12)
WORDS = st.one_of(st.none(), st.sampled_from(["a", "b", "c"]), TEXT)
FLOATS = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))
MICROS = st.one_of(st.none(), st.integers(-(10**16), 10**17))
VECTORS = st.one_of(st.none(), st.lists(st.floats(allow_nan=True), min_size=2, max_size=2))

CASES: dict[str, tuple[Declaration, Any, st.SearchStrategy[Any]]] = {
    "categorical": (CategoricalFeature(name="f", oov_buckets=3), pa.string(), WORDS),
    "integers": (CategoricalFeature(name="f", oov_buckets=3), pa.int64(), st.one_of(st.none(), st.integers(-5, 5))),
    "multi": (
        MultiCategoricalFeature(name="f", max_values=2, oov_buckets=2),
        pa.list_(pa.string()),
        st.one_of(st.none(), st.lists(WORDS, max_size=5)),
    ),
    "separated": (MultiCategoricalFeature(name="f", separator="|", max_values=3), pa.string(), WORDS),
    "standardise": (NumericFeature(name="f"), pa.float64(), FLOATS),
    "quantile": (NumericFeature(name="f", method="quantile", buckets=4), pa.float64(), FLOATS),
    "time": (
        TimeFeature(
            name="f",
            column="f",
            parts=("minute", "hour", "weekday", "hour_of_week", "day", "month", "year"),
            utc_offset_minutes=90,
        ),
        pa.int64(),
        MICROS,
    ),
    "age": (AgeFeature(name="f"), pa.int64(), MICROS),
    "since_last": (SinceLastFeature(name="f"), pa.int64(), MICROS),
    "vector": (VectorFeature(name="f", size=2, normalise=True), pa.list_(pa.float64()), VECTORS),
    "text": (TextFeature(name="f", max_words=3), pa.string(), WORDS),
}


def fitted(declaration: Declaration, values: pa.Array | list[Any]) -> Any:
    return declaration.fit(iter([Column.of("f", values, len(values))]))


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_bulk_is_row_by_row(case: str, data: st.DataObject) -> None:
    declaration, kind, strategy = CASES[case]
    values = data.draw(st.lists(strategy, min_size=1, max_size=12))
    array = pa.array(values, kind)
    made = fitted(declaration, array)
    at = np.full(len(values), 10**15)
    bulk = made.encode(Column.of("f", array, len(values)), at)
    listed = made.encode(Column.of("f", values, len(values)), at)
    inputs = {each.name: each for each in made.inputs("item")}
    assert bulk.keys() == inputs.keys()
    for name, whole in bulk.items():
        rows = [made.encode(Column.of("f", [value], 1), at[:1])[name][0] for value in values]
        np.testing.assert_array_equal(whole, np.stack(rows))
        np.testing.assert_array_equal(whole, listed[name])
        assert np.isfinite(whole).all()
        if inputs[name].form != "values":
            assert whole.min() >= 0
            assert whole.max() < inputs[name].cardinality


@pytest.mark.parametrize(
    ("case", "value"),
    [
        ("categorical", {"a": 1}),
        ("categorical", b"bytes"),
        ("categorical", ["a"]),
        ("multi", "Comedy"),
        ("multi", 3),
        ("multi", [["nested"]]),
        ("separated", 3),
        ("standardise", "12"),
        ("standardise", 10**400),
        ("quantile", [1]),
        ("time", "2020-01-01"),
        ("time", 10**18),
        ("age", 0.5),
        ("age", True),
        ("vector", [1.0]),
        ("vector", "ab"),
        ("vector", ["a", "b"]),
        ("vector", 3.0),
        ("text", 7),
    ],
)
def test_wrong_types_are_refused_by_name(case: str, value: Any) -> None:
    made = fitted(CASES[case][0], [])
    with pytest.raises(RequestError, match=r"^feature 'f': .*(expected|out of range)"):
        made.encode(Column.of("f", [value], 1), np.array([0]))


@pytest.mark.parametrize("case", ["categorical", "multi", "separated", "text"])
def test_ten_megabytes_of_text_are_an_unknown_value(case: str) -> None:
    huge = "x" * 10_000_000
    made = fitted(CASES[case][0], [["a"]] if case == "multi" else ["a"])
    value = [huge] if case == "multi" else huge
    codes = made.encode(Column.of("f", [value], 1), None)["f"]
    assert np.count_nonzero(codes) == 1


def test_ten_megabytes_of_the_wrong_thing_make_a_short_message() -> None:
    made = fitted(CASES["standardise"][0], [1.0])
    with pytest.raises(RequestError) as caught:
        made.encode(Column.of("f", ["y" * 10_000_000], 1), None)
    assert len(str(caught.value)) < 300


def test_ten_megabytes_are_never_learned() -> None:
    made = fitted(CASES["categorical"][0], ["z" * 10_000_000, "a"])
    assert made.vocabulary.words == ("a",)


def test_whole_floats_integers_and_their_text_are_one_category() -> None:
    made = fitted(CASES["categorical"][0], pa.array([3, 3, 4]))
    codes = made.encode(Column.of("f", [3, 3.0, "3", np.int32(3)], 4), None)["f"]
    assert codes.tolist() == [4, 4, 4, 4]


def test_standardised_values() -> None:
    made = fitted(NumericFeature(name="f"), pa.array([1.0, 3.0, None]))
    out = made.encode(Column.of("f", [1.0, 3.0, None, 1e300], 4), None)["f"]
    np.testing.assert_allclose(out, [[-1, 0], [1, 0], [0, 1], [10, 0]])


def test_moments_do_not_depend_on_blocks() -> None:
    values = np.random.default_rng(0).normal(1e6, 3.0, 1000)
    blocks = [Column.of("f", pa.array(part), len(part)) for part in np.array_split(values, 7)]
    made = NumericFeature(name="f").fit(iter(blocks))
    np.testing.assert_allclose([made.mean, made.deviation], [values.mean(), values.std()], rtol=1e-9)


def test_a_constant_or_empty_column_is_harmless() -> None:
    for values in (pa.array([5.0, 5.0]), pa.array([None, None], pa.float64()), pa.array([float("inf")])):
        for declaration in (NumericFeature(name="f"), NumericFeature(name="f", method="quantile")):
            made = fitted(declaration, values)
            assert np.isfinite(made.encode(Column.of("f", [5.0, 6.0], 2), None)["f"]).all()


def test_time_parts_are_those_of_the_calendar() -> None:
    made = fitted(CASES["time"][0].model_copy(update={"utc_offset_minutes": 0}), [])
    for moment in (datetime(2024, 2, 29, 23, 59, tzinfo=UTC), datetime(1969, 12, 31, 1, 2, tzinfo=UTC)):
        out = made.encode(Column.of("f", [moment], 1), None)
        parts = {name.removeprefix("f_"): int(codes[0]) - 1 for name, codes in out.items()}
        assert parts == {
            "minute": moment.minute,
            "hour": moment.hour,
            "weekday": moment.weekday(),
            "hour_of_week": moment.weekday() * 24 + moment.hour,
            "day": moment.day - 1,
            "month": moment.month - 1,
            "year": max(moment.year, 1970) - 1970,
        }


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_are_read_in_any_unit(unit: Any) -> None:
    moment = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    ticks = round(moment.timestamp()) * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    made = fitted(TimeFeature(name="f", column="f", unit=unit), [])
    integers = pa.array([ticks])
    for values in ([ticks], integers, integers.cast(pa.timestamp(unit)), integers.cast(pa.timestamp(unit, "UTC"))):
        out = made.encode(Column.of("f", values, 1), None)
        assert out["f_hour"].tolist() == [8]


def test_ages_grow_with_time_and_tolerate_clocks_that_disagree() -> None:
    made = fitted(AgeFeature(name="f"), [])
    out = made.encode(Column.of("f", [5, 0, -(10**9), -(10**15), None], 5), np.zeros(5, np.int64))["f"]
    assert out.tolist() == [1, 1, *sorted(out[2:4].tolist()), 0]
    assert out[3] > out[2] > 1


def test_words_are_folded_and_distinct() -> None:
    made = fitted(TextFeature(name="f", max_words=8), [])
    out = made.encode(Column.of("f", ["Ünï_code,  FULL·ünï", "ünï code full", None], 3), None)["f"]
    assert set(out[0]) == set(out[1])
    assert np.count_nonzero(out[0]) == 3
    assert not out[2].any()


def test_vectors_with_a_hole_are_missing() -> None:
    made = fitted(VectorFeature(name="f", size=2), [])
    out = made.encode(Column.of("f", [[1.0, float("nan")], [3, 4], None], 3), None)["f"]
    assert out.tolist() == [[0, 0], [3, 4], [0, 0]]


@pytest.mark.parametrize("kind", [pa.list_(pa.large_string()), pa.large_list(pa.large_string())])
def test_sliced_list_columns_encode_like_their_rows(kind: pa.DataType) -> None:
    values = [["a"], None, ["b", None, "a"], [], ["q", "b"]]
    made = fitted(CASES["multi"][0], pa.array(values, kind))
    part = made.encode(Column.of("f", pa.array(values, kind).slice(1, 3), 3), None)["f"]
    np.testing.assert_array_equal(part, made.encode(Column.of("f", values[1:4], 3), None)["f"])


def test_sliced_vector_columns_encode_like_their_rows() -> None:
    values = [[1.0, 2.0], None, [3.0, 4.0], [5.0, 6.0]]
    made = fitted(VectorFeature(name="f", size=2), [])
    for kind in (pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 2)):
        part = made.encode(Column.of("f", pa.array(values, kind).slice(1, 2), 2), None)["f"]
        assert part.tolist() == [[0, 0], [3, 4]]


def test_missing_values_in_a_list_take_no_place() -> None:
    made = fitted(MultiCategoricalFeature(name="f", max_values=2), [["a", "b"]])
    out = made.encode(Column.of("f", [[None, "a", "b", "a"], None, [None]], 3), None)["f"]
    assert out.tolist() == [[2, 3], [0, 0], [0, 0]]


def test_a_quantile_begins_the_bucket_above_it() -> None:
    made = fitted(NumericFeature(name="f", method="quantile", buckets=2), pa.array([1.0, 2.0, 3.0]))
    out = made.encode(Column.of("f", [1.9, 2.0, 2.1, None], 4), None)["f"]
    assert out.tolist() == [1, 2, 2, 0]
