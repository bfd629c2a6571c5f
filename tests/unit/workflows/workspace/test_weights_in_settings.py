"""Weights by action: a table whose keys are the events' own words, through every way that settings are written."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from retrieval.errors import ConfigError
from retrieval.toml_text import toml_text
from retrieval.workflows.workspace import Workspace
from retrieval.workflows.workspace.template import write_template

WEIGHTS = {"save": 2.0, "add to cart": 3.5, "page.view": 0.0}
RECIPE = {"training": {"action_weights": WEIGHTS, "targets": {"method": "window", "days": 7.0}}}


def test_a_template_and_a_recipe_hold_any_action(tmp_path: Path) -> None:
    write_template(tmp_path, "feed", RECIPE)
    training = Workspace.open(tmp_path).settings.training
    assert training.action_weights == WEIGHTS
    assert (training.targets.method, training.targets.days) == ("window", 7.0)
    assert tomllib.loads(toml_text(RECIPE)) == RECIPE


def test_a_weight_may_be_given_on_the_command_line(tmp_path: Path) -> None:
    write_template(tmp_path, "feed")
    opened = Workspace.open(tmp_path, ["training.action_weights.save=2.5"])
    assert opened.settings.training.action_weights == {"save": 2.5}


@pytest.mark.parametrize("wrong", ["-1.0", '"much"', "nan"])
def test_a_weight_that_is_none_is_refused_by_name(tmp_path: Path, wrong: str) -> None:
    write_template(tmp_path, "feed")
    with pytest.raises(ConfigError, match=r"training\.action_weights\.save"):
        Workspace.open(tmp_path, [f"training.action_weights.save={wrong}"])
