from __future__ import annotations

import json
from pathlib import Path

import pytest

from retrieval.config import FILE_NAME, laid_over
from retrieval.errors import ConfigError, NotFoundError
from retrieval.workflows.workspace import Settings, Workspace
from retrieval.workflows.workspace.recipes import SECTIONS, load_recipe, recipe_names
from retrieval.workflows.workspace.template import write_template


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_valid_says_what_it_is_for_and_can_start_a_workspace(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert len(recipe.summary) > 40
    write_template(tmp_path / "written", "feed", recipe.settings)
    write_template(tmp_path / "laid_under", "feed")
    written = Workspace.open(tmp_path / "written").settings
    assert written == Workspace.open(tmp_path / "laid_under", recipe=recipe.settings).settings
    assert written != Settings(model=written.model)


def test_there_is_one_for_each_shape_of_log_and_none_names_a_column() -> None:
    assert recipe_names() == ("long-histories", "news", "short-histories")
    for name in recipe_names():
        features = Settings.model_validate_json(json.dumps(load_recipe(name).settings)).features
        assert not features.of_columns


def test_the_workspace_s_own_settings_win_key_by_key(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('[training]\nepochs = 3\n[[features.item]]\nkind = "text"\nname = "title"\n')
    recipe = {
        "training": {"epochs": 9, "learning_rate": 0.001, "negatives": {"uniform": 7}},
        "features": {"history": {"length": 11}, "item": [{"kind": "categorical", "name": "year"}]},
    }
    settings = Workspace.open(tmp_path, ["training.negatives.in_batch=5"], recipe=recipe).settings
    assert (settings.training.epochs, settings.training.learning_rate) == (3, 0.001)
    assert (settings.training.negatives.uniform, settings.training.negatives.in_batch) == (7, 5)
    assert settings.features.history.length == 11
    assert [feature.name for feature in settings.features.item] == ["title"]


def test_laying_over_leaves_both_as_they_were() -> None:
    under, over = {"a": {"x": 1}, "b": 2}, {"a": {"y": 2}}
    assert laid_over(under, over) == {"a": {"x": 1, "y": 2}, "b": 2}
    assert (under, over) == ({"a": {"x": 1}, "b": 2}, {"a": {"y": 2}})


def test_a_recipe_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("# Mine.\n[training]\nepochs = 2\n")
    recipe = load_recipe(str(path))
    assert (recipe.name, recipe.summary, recipe.settings) == ("mine", "Mine.", {"training": {"epochs": 2}})


def test_a_name_that_is_none_lists_those_there_are() -> None:
    with pytest.raises(NotFoundError, match=r"no recipe 'ml2m'; there are: .*long-histories"):
        load_recipe("ml2m")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[training]\nepoch = 2\n", r"mine\.toml:2: training\.epoch: no such setting; did you mean 'epochs'"),
        ("[index]\nshards = 2\n", rf"can't set index; it may set: {', '.join(SECTIONS)}"),
        ("[training\n", "not a recipe"),
    ],
)
def test_a_recipe_that_is_wrong_is_refused_by_name(text: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ConfigError, match=found):
        load_recipe(str(tmp_path / "mine.toml"))
