"""What an import suggests goes into retrieval.toml, beside what is there; so do settings that fit the log's shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from retrieval.data.importers.suggest import Suggestion
from retrieval.errors import ConfigError
from retrieval.types import DAY_US
from retrieval.workflows.data.importing import import_events
from retrieval.workflows.workspace import Settings, Workspace, create_workspace, open_workspace
from retrieval.workflows.workspace.fitting import LEAST_EVENTS
from retrieval.workflows.workspace.recipes import load_recipe
from retrieval.workflows.workspace.suggested import apply_suggestion

DAYS = 30


def log(users: int, *, items: int, lives_days: float, events: int = LEAST_EVENTS) -> pa.Table:
    """A log of a month; each item is engaged with for so many days from its birth on, spread over the month."""
    rng = np.random.default_rng(0)
    item = rng.integers(0, items, events)
    born = np.linspace(0, max(DAYS - lives_days, 0), items)
    days = born[item] + rng.uniform(0, min(lives_days, DAYS), events)
    times = 1_700_000_000_000_000 + (days * DAY_US).astype(np.int64)
    who = [f"u{number}" for number in rng.integers(0, users, events)]
    return pa.table({"user_id": who, "item_id": item, "timestamp": times, "device": ["phone", "desk"] * (events // 2)})


def learned(recipe: str) -> dict[str, Any]:
    return {name: value for name, value in load_recipe(recipe).settings.items() if name in ("towers", "training")}


@pytest.mark.parametrize(
    ("users", "lives_days", "recipe", "why"),
    [
        (4_000, 30.0, "short-histories", "histories are short, 5 events of a user at the median"),
        (200, 30.0, "long-histories", "histories are long, 100 events of a user at the median"),
        (4_000, 1.0, "news", "items are engaged with when they are young, 0.5 days at the median"),
    ],
)
def test_a_log_decides_how_it_is_learned(tmp_path: Path, users: int, lives_days: float, recipe: str, why: str) -> None:
    workspace = create_workspace(tmp_path)
    events = log(users, items=400, lives_days=lives_days)
    done = import_events(workspace, events, write_settings=True, show=False)
    assert (done.recipe, done.why) == (recipe, why)
    settings = workspace.reopen().settings
    want = Settings.model_validate(learned(recipe))
    assert (settings.towers, settings.training) == (want.towers, want.training)
    own = load_recipe(recipe).settings["features"].get("item", [])
    assert [one.name for one in settings.features.item] == [one["name"] for one in own]
    assert [one.name for one in settings.features.context] == ["request", "since_last"]
    assert settings.data.events == "data/events"
    assert workspace.root.joinpath("retrieval.toml").read_text().startswith("# Settings of this workspace")


def test_places_in_a_history_that_stand_for_times_are_no_news(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path)
    users = np.repeat(np.arange(LEAST_EVENTS // 8), 8)
    place = np.tile(np.arange(8), LEAST_EVENTS // 8)
    items = np.random.default_rng(0).integers(0, 300, len(users))
    events = pa.table({"user_id": users, "item_id": items, "timestamp": 1_000_000_000 + place})
    assert import_events(workspace, events, write_settings=True, show=False).recipe == "short-histories"


@pytest.mark.parametrize(
    "chosen", [{"training": {"epochs": 3}}, {"towers": {"dim": 32}}, {"features": {"history": {"length": 7}}}]
)
def test_who_has_chosen_is_not_asked_again(tmp_path: Path, chosen: dict[str, Any]) -> None:
    workspace = create_workspace(tmp_path, settings=chosen)
    done = import_events(workspace, log(200, items=400, lives_days=30.0), write_settings=True, show=False)
    settings = workspace.reopen().settings
    assert done.recipe == ""
    want = Settings.model_validate(chosen)
    assert (settings.towers, settings.training) == (want.towers, want.training)


def test_settings_that_are_no_choice_of_learning_stay_beside_those_that_fit(tmp_path: Path) -> None:
    given = {"data": {"split": {"method": "leave_one_out"}}, "evaluation": {"ks": [5, 10]}}
    workspace = create_workspace(tmp_path, settings=given)
    done = import_events(workspace, log(4_000, items=400, lives_days=1.0), write_settings=True, show=False)
    settings = workspace.reopen().settings
    assert done.recipe == "news"
    assert (settings.data.split.method, settings.data.split.test_hours) == ("leave_one_out", 6.0)
    assert settings.evaluation.ks == (5, 10)


@pytest.mark.parametrize(("events", "lives_days"), [(LEAST_EVENTS - 2, 1.0), (200, 30.0)])
def test_a_small_log_says_nothing(tmp_path: Path, events: int, lives_days: float) -> None:
    workspace = create_workspace(tmp_path)
    few = log(200, items=40, lives_days=lives_days, events=events)
    assert import_events(workspace, few, write_settings=True, show=False).recipe == ""
    assert workspace.reopen().settings.training == Settings().training


def test_a_recipe_s_features_of_no_column_stay_beside_those_of_the_columns(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path, recipe="news")
    before = workspace.settings.features
    columns = (
        {"kind": "categorical", "name": "section"},
        {"kind": "numeric", "name": "first_seen", "method": "quantile"},
    )
    suggestion = Suggestion(features={"item": columns, "context": ({"kind": "since_last", "name": "since_last"},)})
    after = apply_suggestion(workspace, suggestion).settings.features
    assert after.item[: len(before.item)] == before.item
    added = [(one.kind, one.name, one.source) for one in after.item[len(before.item) :]]
    assert added == [("categorical", "section", "section"), ("numeric", "first_seen_column", "first_seen")]
    assert after.context == before.context
    again = apply_suggestion(open_workspace(tmp_path), suggestion).settings.features
    assert again == after


def test_a_suggestion_goes_into_the_file_and_what_else_was_set_stays(tmp_path: Path) -> None:
    create_workspace(tmp_path)
    opened = open_workspace(tmp_path, ["training.epochs=5"], recipe="long-histories")
    suggestion = Suggestion(data={"events": "mine"}, features={"item": ({"kind": "text", "name": "title"},)})
    after = apply_suggestion(opened, suggestion)
    assert after.settings.data.events == "mine"
    assert [feature.name for feature in after.settings.features.item] == ["title"]
    assert after.settings.training.epochs == 5
    assert Workspace.open(tmp_path).settings.data.events == "mine"


def test_a_suggestion_that_is_not_valid_leaves_the_file(tmp_path: Path) -> None:
    opened = create_workspace(tmp_path)
    before = (tmp_path / "retrieval.toml").read_text()
    with pytest.raises(ConfigError, match=r"retrieval\.toml.*memory_limit_mb"):
        apply_suggestion(opened, Suggestion(data={"memory_limit_mb": 1}))
    assert (tmp_path / "retrieval.toml").read_text() == before
