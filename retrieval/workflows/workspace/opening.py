"""Opening the workspace to work in: the one place where --workspace, the environment, --set and recipes meet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from retrieval.config import find_workspace
from retrieval.workflows.workspace.workspace import Workspace

WORKSPACE_VARIABLE = "RETRIEVAL_WORKSPACE"


def open_workspace(
    folder: Path | None = None, overrides: Sequence[str] | None = None, *, recipe: str | None = None
) -> Workspace:
    """Open `folder`, else the one that RETRIEVAL_WORKSPACE names, else the nearest at or above the current folder.

    `overrides` are `section.key=value`; `recipe` is the name of one that is shipped, or a .toml file. Raises
    NotFoundError (no workspace, no such recipe) and ConfigError.
    """
    named = os.environ.get(WORKSPACE_VARIABLE)
    root = folder or (Path(named) if named else find_workspace(Path.cwd()))
    if recipe is None:
        return Workspace.open(root, overrides or ())
    from retrieval.workflows.workspace.recipes import load_recipe

    return Workspace.open(root, overrides or (), recipe=load_recipe(recipe).settings)
