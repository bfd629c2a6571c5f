"""Names of items: from which column, and of which items."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.data.config import DataConfig
from retrieval.errors import ConfigError
from retrieval.features import FeatureSpec
from retrieval.workflows.data.importing import import_events
from retrieval.workflows.fleet.query import newest_events, with_names
from retrieval.workflows.fleet.users import load_users
from retrieval.workflows.item_names import name_column, read_item_names
from retrieval.workflows.workspace import Workspace, create_workspace, open_workspace

AT = 1_700_000_000


def column(table: dict[str, list[object]], spec: FeatureSpec | None = None, named: str | None = None) -> str | None:
    config = DataConfig(item_name_column=named)
    return name_column(pa.table(table).schema, next(iter(table)), config, spec or FeatureSpec())


def test_names_come_from_the_column_that_looks_like_one() -> None:
    text = FeatureSpec.model_validate({"item": ({"kind": "text", "name": "words", "column": "body"},)})
    table: dict[str, list[object]] = {"item_id": ["a"], "genre": ["g"], "body": ["b"], "year": [1]}
    assert column(table) is None
    assert column(table, text) == "body"
    assert column({**table, "movie_title": ["t"]}, text) == "movie_title"
    assert column({**table, "Name": ["t"], "movie_title": ["t"]}) == "Name"
    assert column({"title": ["a"], "genre": ["g"]}) is None


def test_the_settings_may_name_the_column_or_want_none() -> None:
    table: dict[str, list[object]] = {"item_id": ["a"], "title": ["t"], "year": [1]}
    assert column(table, named="year") == "year"
    assert column(table, named="") is None
    with pytest.raises(ConfigError, match=r"data.item_name_column names 'name', .* they have: item_id, title, year"):
        column(table, named="name")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = create_workspace(tmp_path, model="films")
    events = pa.table({"user_id": ["a"] * 7, "item_id": range(7), "timestamp": [AT + n for n in range(7)]})
    items = pa.table({"item_id": range(8), "title": [*(f"Film {n}" for n in range(6)), " ", None], "year": range(8)})
    import_events(made, events, items=items, write_settings=True, show=False)
    return made.reopen()


def test_names_of_some_items_are_read(workspace: Workspace) -> None:
    assert read_item_names(workspace, ["3", "5", "6", "7", "99", "x"]) == {"3": "Film 3", "5": "Film 5"}
    assert read_item_names(workspace, []) == {}
    years = open_workspace(workspace.root, ["data.item_name_column=year"])
    assert read_item_names(years, ["3"]) == {"3": "3"}
    assert read_item_names(open_workspace(workspace.root, ["data.items="]), ["3"]) == {}


def test_names_are_read_from_a_folder_of_files(workspace: Workspace) -> None:
    folder = workspace.root / "more"
    folder.mkdir()
    for part, rows in enumerate((["a", "b"], ["c"])):
        pq.write_table(pa.table({"item_id": rows, "name": [f"The {row}" for row in rows]}), folder / f"{part}.parquet")
    assert read_item_names(open_workspace(workspace.root, ["data.items=more"]), "abc") == {
        "a": "The a", "b": "The b", "c": "The c",
    }  # fmt: skip


def test_an_answer_is_shown_beside_names_and_the_newest_events(workspace: Workspace) -> None:
    assert newest_events(workspace, "a") == []
    load_users(workspace, show=False)
    assert newest_events(workspace, "nobody") == []
    history = newest_events(workspace, "a", 2)
    assert [(event["item_id"], event["timestamp"]) for event in history] == [
        ("6", (AT + 6) * 1_000_000), ("5", (AT + 5) * 1_000_000),
    ]  # fmt: skip
    shown = with_names(workspace, {"item_ids": ["7", "2"]}, history)
    assert shown["item_names"] == [None, "Film 2"]
    assert [event["item_name"] for event in shown["history"]] == [None, "Film 5"]
