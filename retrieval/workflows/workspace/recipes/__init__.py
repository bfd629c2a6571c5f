"""Recipes: settings that were measured on some data, shipped with the package, one TOML file each beside this one.

A recipe may hold the sections below and is laid under a workspace's own retrieval.toml: whatever the workspace, the
environment or a flag says wins, key by key; a list (such as the features of a side) is replaced as a whole.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from retrieval.config import explain
from retrieval.errors import ConfigError, NotFoundError
from retrieval.workflows.workspace.settings import Settings

SECTIONS = ("data", "corpus", "features", "towers", "training", "evaluation")
"""What a recipe may set: how to learn and how to measure, never where things lie or how they are served."""
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Recipe:
    """A named set of settings."""

    name: str
    summary: str
    """For what data it is, where it was measured, on which device it is practical: its first comment line."""
    text: str
    settings: Mapping[str, Any]


def recipe_names() -> tuple[str, ...]:
    """The recipes that are shipped, by name."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_recipe(name: str) -> Recipe:
    """The recipe shipped under `name`, or the one in the file `name` where it ends in .toml.

    Raises NotFoundError where there is none, ConfigError that names the file and the key for one that is not valid.
    """
    path = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    if not path.is_file() or (path.parent == _FOLDER and name not in recipe_names()):
        raise NotFoundError(f"no recipe {name!r}; there are: {', '.join(recipe_names())}; or give a .toml file")
    try:
        text = path.read_text(encoding="utf-8")
        settings = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not a recipe: {error}") from error
    refused = sorted(settings.keys() - set(SECTIONS))
    if refused:
        raise ConfigError(f"{path}: a recipe can't set {', '.join(refused)}; it may set: {', '.join(SECTIONS)}")
    try:
        Settings.model_validate_json(json.dumps(settings))
    except ValidationError as error:
        raise ConfigError(explain(error, Settings, path=path, text=text, data=settings)) from error
    return Recipe(path.stem, _summary(text), text, settings)


def _summary(text: str) -> str:
    first = text.lstrip().partition("\n")[0]
    return first.lstrip("# ").rstrip() if first.startswith("#") else ""
