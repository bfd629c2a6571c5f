"""Settings that an import suggests, put into the workspace's retrieval.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from retrieval.config import FILE_NAME, parse_settings
from retrieval.data.facts.shape import log_shape
from retrieval.data.importers.suggest import Suggestion
from retrieval.data.settings import merge_settings, set_missing
from retrieval.features.declaration import SIDES
from retrieval.storage.atomic import write_text
from retrieval.workflows.workspace.fitting import Fit, fitting_recipe
from retrieval.workflows.workspace.recipes import load_recipe
from retrieval.workflows.workspace.settings import Settings
from retrieval.workflows.workspace.workspace import Workspace

Declared = Mapping[str, Any]
"""A feature as retrieval.toml has it."""
_LEARNING = ("towers", "training")


def apply_suggestion(workspace: Workspace, suggestion: Suggestion, *, features: bool = True) -> Workspace:
    """Merge `suggestion` into the workspace's retrieval.toml and open it anew; without `features`, [data] alone.

    Of the features that are declared there, those that read no column (an item's activity, the time of the request)
    stay; the suggested ones come in the place of the others. The file is only replaced by one that is valid.
    Raises ConfigError.
    """
    text = _text(workspace)
    if features:
        suggestion = replace(suggestion, features=_beside(_without_column(workspace, text), suggestion.features))
    return _written(workspace, merge_settings(text, suggestion, features=features))


def apply_fitting_recipe(workspace: Workspace, *, show: bool = True) -> Fit | None:
    """Put the settings of the recipe that fits the workspace's log into its retrieval.toml, and say which it was.

    What is set there already stays. Nothing is done, and None returned, where settings of learning are among it (then
    somebody chose), and where the log is too small to tell. Raises ConfigError, DataError.
    """
    text = _text(workspace)
    if _is_chosen(tomllib.loads(text)) or workspace.recipe is not None:
        return None
    fit = fitting_recipe(log_shape(workspace.dataset(show=show).histories))
    if fit is None:
        return None
    settings = load_recipe(fit.recipe).settings
    own = settings.get("features", {})
    there = tomllib.loads(text).get("features", {})
    declared = _beside({side: own.get(side, ()) for side in SIDES}, {side: there.get(side, ()) for side in SIDES})
    plain = {**settings, "features": {key: value for key, value in own.items() if key not in SIDES}}
    _written(workspace, merge_settings(set_missing(text, plain), Suggestion(features=declared)))
    return fit


def _is_chosen(settings: Mapping[str, Any]) -> bool:
    history = settings.get("features", {}).get("history", {})
    return any(_holds_a_key(section) for section in (history, *(settings.get(name, {}) for name in _LEARNING)))


def _holds_a_key(table: Mapping[str, Any]) -> bool:
    return any(_holds_a_key(value) if isinstance(value, Mapping) else True for value in table.values())


def _without_column(workspace: Workspace, text: str) -> dict[str, Sequence[Declared]]:
    """The features of a file that read no column of the data, by side."""
    spec = parse_settings(text, workspace.root / FILE_NAME, Settings, environment={}).features
    raw = tomllib.loads(text).get("features", {})
    return {
        side: [one for one, known in zip(raw.get(side, ()), getattr(spec, side), strict=True) if not known.stored]
        for side in SIDES
    }


def _beside(
    kept: Mapping[str, Sequence[Declared]], suggested: Mapping[str, Sequence[Declared]]
) -> dict[str, tuple[Declared, ...]]:
    """Both, by side; what is suggested and kept alike stands once."""
    made = {}
    for side in SIDES:
        kinds = {one["name"]: one["kind"] for one in kept.get(side, ())}
        new = [one for one in suggested.get(side, ()) if kinds.get(one["name"]) != one["kind"]]
        made[side] = (*kept.get(side, ()), *(_renamed(one) if one["name"] in kinds else one for one in new))
    return {side: declared for side, declared in made.items() if declared}


def _renamed(feature: Declared) -> Declared:
    """A feature whose name is taken."""
    return {**feature, "name": f"{feature['name']}_column", "column": feature.get("column", feature["name"])}


def _text(workspace: Workspace) -> str:
    return (workspace.root / FILE_NAME).read_text(encoding="utf-8")


def _written(workspace: Workspace, text: str) -> Workspace:
    path = workspace.root / FILE_NAME
    parse_settings(text, path, Settings, environment={})
    write_text(path, text)
    return workspace.reopen()
