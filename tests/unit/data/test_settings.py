from __future__ import annotations

import json
import tomllib

import pyarrow as pa
import pytest

from retrieval.data.importers.suggest import Suggestion, suggest_feature, suggest_features
from retrieval.data.settings import merge_settings, set_missing
from retrieval.features import FeatureSpec

SUGGESTION = Suggestion(
    data={"events": "data/events", "context_columns": ("device",)},
    split={"method": "time"},
    features={"user": ({"kind": "categorical", "name": "plan"},)},
)


def test_keys_are_set_where_they_stand_and_the_rest_stays() -> None:
    text = """\
# mine
[data]
#events = "x"
context_columns = [
  "a", # why
  "b",
]
users = "u"

[[features.user]]
kind = "categorical"
name = "old"

# about towers
[towers]
dim = 32
"""
    merged = merge_settings(text, SUGGESTION)
    read = tomllib.loads(merged)
    assert read["data"] == {
        "events": "data/events",
        "context_columns": ["device"],
        "users": "u",
        "split": {"method": "time"},
    }
    assert read["towers"] == {"dim": 32}
    assert read["features"] == {"user": [{"kind": "categorical", "name": "plan"}]}
    assert "# mine" in merged
    assert "# about towers" in merged
    assert merge_settings(merged, SUGGESTION) == merged
    assert tomllib.loads(merge_settings("", SUGGESTION))["data"]["events"] == "data/events"


def test_features_are_told_from_types() -> None:
    table = pa.table(
        {
            "item_id": list(range(4)),
            "Some Price": [1.0, 2.0, 3.0, 4.0],
            "kind": ["a", "b", "a", "b"],
            "title": ["one", "two", "three", "four"],
            "tags": [["a"], [], None, ["b"]],
            "made": pa.array([1, 2, 3, 4], pa.timestamp("s")),
            "vector": pa.array([[1.0, 2.0]] * 4, pa.list_(pa.float32(), 2)),
            "9lives": [1, 2, 1, 2],
            "count": [1, 2, 3, 4],
            "blob": [b"x"] * 4,
        }
    )
    suggested = suggest_features(table, "item_id", "item")
    assert FeatureSpec.model_validate_json(json.dumps({"item": suggested}))
    assert list(suggested) == [
        {"kind": "numeric", "name": "some_price", "column": "Some Price", "method": "quantile"},
        {"kind": "categorical", "name": "kind"},
        {"kind": "text", "name": "title"},
        {"kind": "multi_categorical", "name": "tags"},
        {"kind": "time", "name": "made", "column": "made", "parts": ("year", "month")},
        {"kind": "vector", "name": "vector", "size": 2},
        {"kind": "categorical", "name": "f_9lives", "column": "9lives"},
        {"kind": "numeric", "name": "count", "method": "quantile"},
    ]


def test_a_date_is_an_age_where_every_example_sees_its_own() -> None:
    """An item's would need training.windows = "by_time", which a suggestion doesn't set."""
    joined = pa.table({"id": ["a"], "joined": pa.array([1], pa.timestamp("s"))})
    assert suggest_features(joined, "id", "user") == ({"kind": "age", "name": "joined"},)
    assert suggest_feature("joined", joined.column("joined"), "context") == {"kind": "age", "name": "joined"}


def test_features_may_stay_as_a_recipe_has_them() -> None:
    text = '[data]\n[[features.item]]\nkind = "text"\nname = "title"\n'
    merged = merge_settings(
        text,
        Suggestion(data={"items": "data/items.parquet"}, features={"item": ({"kind": "id", "name": "x"},)}),
        features=False,
    )
    assert merged == '[data]\nitems = "data/items.parquet"\n[[features.item]]\nkind = "text"\nname = "title"\n'


@pytest.mark.parametrize(
    "text",
    [
        'data.events = "x"  # mine\n',
        'data = {events = "x", users = "u"}\n',
        '[data]\n"events" = "x"\n',
        '[data]\nevents = """\n[data.split]\n"""\n',
        '[ data ]\nevents = [\n  "a]", # ]\n]\n[data.split]\nmethod = "leave_one_out" # why\n',
    ],
)
def test_keys_are_set_however_they_are_written(text: str) -> None:
    merged = merge_settings(text, SUGGESTION)
    read = tomllib.loads(merged)
    assert read["data"]["events"] == "data/events"
    assert read["data"]["split"] == {"method": "time"}
    assert ("# mine" in merged, "# why" in merged) == ("# mine" in text, "# why" in text)
    assert tomllib.loads(merge_settings(merged, SUGGESTION)) == read


def test_a_suggestion_reads_back_as_it_was_written() -> None:
    read = tomllib.loads(SUGGESTION.as_toml())
    assert read["data"] == {"events": "data/events", "context_columns": ["device"], "split": {"method": "time"}}
    assert read["features"] == {"user": [{"kind": "categorical", "name": "plan"}]}


def test_what_is_set_stays_and_what_is_missing_comes_in_its_place() -> None:
    text = '[training]\nepochs = 3\n#loss = "x"\n\n[training.negatives]\n#uniform = 1\n'
    under = {"training": {"epochs": 9, "loss": "auto", "negatives": {"uniform": 7}}, "towers": {"dim": 32}}
    assert set_missing(text, under) == (
        '[training]\nepochs = 3\nloss = "auto"\n\n[training.negatives]\nuniform = 7\n\n[towers]\ndim = 32\n'
    )
