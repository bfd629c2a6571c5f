from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from retrieval.errors import ArtifactError, DataError, RequestError
from retrieval.features import LAST_EVENT, Features, FeatureSpec, HistorySpec, fit_features
from retrieval.features.kinds.age import AgeFeature
from retrieval.features.kinds.categorical import CategoricalFeature
from retrieval.features.kinds.id import IdFeature
from retrieval.features.kinds.multi_categorical import MultiCategoricalFeature
from retrieval.features.kinds.numeric import NumericFeature
from retrieval.features.kinds.since_last import SinceLastFeature
from retrieval.features.kinds.text import TextFeature
from retrieval.features.kinds.time import TimeFeature
from retrieval.features.kinds.vector import VectorFeature

DAY = 86_400_000_000


@pytest.fixture
def rich_spec() -> FeatureSpec:
    return FeatureSpec(
        user=(CategoricalFeature(name="country"), NumericFeature(name="age")),
        item=(
            MultiCategoricalFeature(name="genres", max_values=2),
            TextFeature(name="title", buckets=64, max_words=3),
            VectorFeature(name="embedding", size=2),
            NumericFeature(name="price", method="quantile", buckets=4),
            AgeFeature(name="published"),
        ),
        context=(CategoricalFeature(name="device"), TimeFeature(name="now"), SinceLastFeature(name="gap")),
    )


@pytest.fixture
def rich(make_dataset: Any, rich_spec: FeatureSpec) -> Features:
    dataset, split = make_dataset(
        user_columns={"country": ["de", "at", "de"], "age": [20.0, None, 40.0]},
        item_columns={
            "genres": [["a", "b"], ["a"], None, ["c"], ["z"]],
            "title": ["Toy Story", "Heat", None, "x", "y"],
            "embedding": [[1.0, 2.0]] * 5,
            "price": [1.0, 2.0, 3.0, 4.0, 500.0],
            "published": [0, DAY, 2 * DAY, None, 0],
        },
        context={"device": ["phone", "web", "tv", "phone", "tv", "phone", "tv"]},
    )
    return fit_features(rich_spec, dataset, split)


def test_defaults_need_only_user_item_and_time(make_dataset: Any) -> None:
    dataset, split = make_dataset()
    features = fit_features(FeatureSpec(), dataset, split)
    assert [made.name for made in features.inputs("item")] == ["item_id"]
    assert features.inputs("user") == ()
    assert features.inputs("context") == ()
    codes = features.encode("item", {"item_id": dataset.histories.item_ids}, 5)["item_id"]
    # i0 is the most frequent in training, then i1; i2, i3 are held out and i4 has no event: unknown
    assert codes.tolist() == [2, 3, 1, 1, 1]
    assert codes.dtype == np.int64


def test_only_training_rows_are_learned_from(rich: Features) -> None:
    genres = rich.transforms["item"][1].state().vocabulary
    assert genres is not None
    assert genres.words == ("a", "b")  # items 2 … 4 never occur in training
    device = rich.transforms["context"][0].state().vocabulary
    assert device is not None
    assert device.words == ("phone", "web")  # "tv" stands only on held-out events


@dataclass(frozen=True)
class Tokens:
    """Those of one user."""

    items: np.ndarray
    actions: np.ndarray
    gaps: np.ndarray
    times: np.ndarray
    query_times: np.ndarray


def tokens(features: Features, items: list[str], actions: list[str], times: Any, at: int = 0) -> Tokens:
    laid = features.lay_out(features.encode_history(items, actions, times), np.array([at]))
    assert laid.lengths.tolist() == [laid.items.shape[1]]
    return Tokens(*(getattr(laid, field.name)[0] for field in fields(Tokens)))


def test_history_tokens_are_item_id_codes(rich: Features) -> None:
    times = np.array([0, 5, 90]) * 1_000_000
    encoded = tokens(rich, ["i0", "new", "i1"], ["click", "click", "wave"], times, at=100_000_000)
    bos = rich.history_inputs().bos
    assert encoded.items.tolist() == [bos, 2, 1, 3]
    assert encoded.actions.tolist() == [0, 2, 2, 1]
    assert encoded.gaps[:2].tolist() == [0, 0]
    assert encoded.gaps[3] > encoded.gaps[2] > 0
    assert encoded.times.tolist() == [0, 0, 5_000_000, 90_000_000]
    assert encoded.query_times.tolist() == [0, 5_000_000, 90_000_000, 100_000_000]
    assert encoded.gaps.max() < rich.history_inputs().gaps_cardinality


def test_empty_history_is_bos_alone(rich: Features) -> None:
    encoded = tokens(rich, [], [], [], at=7)
    assert encoded.items.tolist() == [rich.history_inputs().bos]
    assert encoded.times.tolist() == encoded.query_times.tolist() == [7]


def test_history_keeps_the_newest_events(make_dataset: Any) -> None:
    dataset, split = make_dataset()
    features = fit_features(FeatureSpec(history=HistorySpec(length=2, actions=False, time=False)), dataset, split)
    encoded = tokens(features, ["i3", "i0", "i1"], [], [1, 2, 3])
    assert encoded.items.tolist()[1:] == [2, 3]
    assert not encoded.actions.any()
    assert not encoded.gaps.any()
    assert features.history_inputs().gaps_cardinality == 1


def test_bulk_history_codes_are_the_single_ones(rich: Features, make_dataset: Any) -> None:
    dataset, _ = make_dataset()
    items, actions = rich.history_codes(dataset.histories)
    encoded = rich.encode_history(dataset.histories.item_ids.to_pylist(), [], [0] * 5)
    assert items.tolist() == encoded.newest.items.tolist()
    assert actions.tolist() == [2, 1]
    times = np.array([3, 9, 10_000, 10_000]) * 1_000_000
    assert rich.gap_codes(np.diff(times)).tolist() == tokens(rich, ["i0"] * 4, [], times).gaps[2:].tolist()


@pytest.mark.parametrize(
    "arguments",
    [(["i0"], [], []), (["i0"], ["a", "b"], [1]), (["i0"], [], ["x"]), ([["i0"]], [], [1]), (["i0"], [], [1.5])],
)
def test_wrong_history_is_refused(rich: Features, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(RequestError, match="history"):
        rich.encode_history(*arguments)


def test_every_input_is_encoded_as_described(rich: Features) -> None:
    at = np.array([10 * DAY, 10 * DAY])
    for side in ("user", "item", "context"):
        encoded = rich.encode(side, {}, 2, at)
        assert list(encoded) == [made.name for made in rich.inputs(side)]
        for made in rich.inputs(side):
            array = encoded[made.name]
            assert array.shape == ((2,) if made.form == "codes" else (2, made.width))
            assert array.dtype == (np.float32 if made.form == "values" else np.int64)
            if made.form != "values":
                assert array.max() < made.cardinality


def test_context_reads_request_time_and_last_event(rich: Features) -> None:
    at = np.array([4 * DAY + 3_600_000_000])  # Monday 1970-01-05, 01:00
    encoded = rich.encode("context", {"device": ["web"], LAST_EVENT: [4 * DAY]}, 1, at)
    assert encoded["now_hour"].tolist() == [2]
    assert encoded["now_weekday"].tolist() == [1]
    assert encoded["gap"][0] > 20
    assert rich.encode("context", {LAST_EVENT: [None]}, 1, at)["gap"].tolist() == [0]
    assert LAST_EVENT in rich.columns("context")


def test_request_time_is_asked_for(rich: Features) -> None:
    with pytest.raises(RequestError, match=r"'now'.*time of the request"):
        rich.encode("context", {}, 1)


def test_save_and_load_encode_alike(rich: Features, tmp_path: Any) -> None:
    rich.save(tmp_path)
    again = Features.load(tmp_path)
    assert again.fingerprint == rich.fingerprint
    assert again.spec == rich.spec
    columns = {
        "genres": [["a", "q"], None],
        "title": ["Story of Heat", None],
        "embedding": [[1, 2], None],
        "price": [2.5, None],
        "published": [DAY, None],
        "item_id": ["i0", "zz"],
    }
    at = np.array([9 * DAY, 9 * DAY])
    for (name, one), two in zip(
        rich.encode("item", columns, 2, at).items(), again.encode("item", columns, 2, at).values(), strict=True
    ):
        np.testing.assert_array_equal(one, two, err_msg=name)


def test_fingerprint_follows_what_was_learned(make_dataset: Any) -> None:
    dataset, split = make_dataset()
    other, _ = make_dataset(((1, 0, 2), (1, 0), (1, 3)))
    prints = {fit_features(FeatureSpec(), data, split).fingerprint for data in (dataset, other)}
    prints.add(fit_features(FeatureSpec(history=HistorySpec(length=3)), dataset, split).fingerprint)
    assert len(prints) == 3
    assert fit_features(FeatureSpec(), dataset, split).fingerprint in prints


@pytest.mark.parametrize("damage", ["missing", "truncated", "swapped", "edited", "garbage"])
def test_damaged_files_are_refused_by_name(rich: Features, tmp_path: Any, damage: str) -> None:
    rich.save(tmp_path)
    words, facts = tmp_path / "item.item_id.arrow", tmp_path / "features.json"
    if damage == "missing":
        words.unlink()
    elif damage == "truncated":
        words.write_bytes(words.read_bytes()[:200])
    elif damage == "swapped":
        words.write_bytes((tmp_path / "user.country.arrow").read_bytes())
    elif damage == "edited":
        facts.write_text(facts.read_text().replace('"deviation": 1', '"deviation": 2'))
        facts.write_text(facts.read_text().replace('"length": 200', '"length": 100'))
    else:
        facts.write_text("{")
    with pytest.raises(ArtifactError, match=str(tmp_path)):
        Features.load(tmp_path)


def test_columns_of_wrong_length_are_refused(rich: Features) -> None:
    with pytest.raises(RequestError, match="'country': 1 values for 2 rows"):
        rich.encode("user", {"country": ["de"]}, 2)


def test_fit_names_a_missing_column(make_dataset: Any) -> None:
    dataset, split = make_dataset(user_columns={"country": ["de"] * 3})
    with pytest.raises(DataError, match=r"'age' reads column 'years', but the users have country"):
        fit_features(FeatureSpec(user=(NumericFeature(name="age", column="years"),)), dataset, split)
    with pytest.raises(DataError, match=r"data\.context_columns"):
        fit_features(FeatureSpec(context=(CategoricalFeature(name="device"),)), dataset, split)


def test_fit_names_a_column_of_wrong_type(make_dataset: Any) -> None:
    dataset, split = make_dataset(user_columns={"age": ["old"] * 3})
    with pytest.raises(DataError, match=r"feature 'age': expected numbers, found a column of string"):
        fit_features(FeatureSpec(user=(NumericFeature(name="age"),)), dataset, split)


def test_fit_without_training_events_is_refused(make_dataset: Any) -> None:
    dataset, split = make_dataset(((0,), (1,)))
    with pytest.raises(DataError, match="no training events"):
        fit_features(FeatureSpec(), dataset, split)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"user": (CategoricalFeature(name="a"), NumericFeature(name="a"))}, "declared more than once"),
        ({"item": (CategoricalFeature(name="item_id"),)}, "must be of kind 'id'"),
        ({"user": (SinceLastFeature(name="gap"),)}, "is for context"),
        ({"user": (TimeFeature(name="now"),)}, "needs a column"),
        ({"context": (SinceLastFeature(name="g"),), "history": HistorySpec(time=False)}, "history.time"),
    ],
)
def test_impossible_specs_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FeatureSpec(**given)


def test_spec_reads_from_plain_settings() -> None:
    spec = FeatureSpec.model_validate_json('{"item": [{"kind": "id", "name": "item_id", "min_count": 3}]}')
    assert spec.declared("item") == (IdFeature(name="item_id", min_count=3),)
    with pytest.raises(ValidationError, match="kind"):
        FeatureSpec.model_validate_json('{"item": [{"kind": "colour", "name": "x"}]}')


def test_user_id_can_be_a_feature(make_dataset: Any) -> None:
    dataset, split = make_dataset()
    features = fit_features(FeatureSpec(user=(IdFeature(name="user_id"),)), dataset, split)
    assert features.encode("user", {"user_id": ["u1", "u9", 3]}, 3)["user_id"].tolist() == [3, 1, 1]


def test_chunked_and_dictionary_columns(rich: Features) -> None:
    plain = rich.encode("user", {"country": ["de", None, "xx", "at"]}, 4)["country"]
    chunked = pa.chunked_array([["de", None], ["xx", "at"]])
    words = pa.array([f"w{n}" for n in range(50)] + ["at", "de", "xx"])
    large = pa.DictionaryArray.from_arrays(pa.array([51, None, 52, 50]), words)
    for column in (large, chunked, chunked.dictionary_encode(), np.array(["de", None, "xx", "at"], object)):
        np.testing.assert_array_equal(rich.encode("user", {"country": column}, 4)["country"], plain)
