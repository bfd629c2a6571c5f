"""Making a workspace: what `retrieval init` does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from retrieval.config import FILE_NAME, explain, laid_over
from retrieval.errors import ConfigError, RetrievalError
from retrieval.types import MODEL_NAME
from retrieval.workflows.workspace.recipes import load_recipe
from retrieval.workflows.workspace.settings import Settings
from retrieval.workflows.workspace.template import write_template
from retrieval.workflows.workspace.workspace import Workspace


def create_workspace(
    folder: Path,
    *,
    model: str | None = None,
    recipe: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Workspace:
    """Make `folder` a workspace and open it: a commented retrieval.toml with every setting, and the stores it names.

    Written into it are the settings of `recipe` (the name of one that is shipped, or a .toml file), over them
    `settings` by section (`{"towers": {"dim": 32}}`), over them the name of the `model`. Nothing is written where one
    of them is not valid. The registry, the artifact store and the user store are made where they are missing.

    Raises ConfigError, NotFoundError (no such recipe), ConflictError (a workspace is there), UnavailableError.
    """
    from retrieval.workflows.workspace.upgrade import upgrade_workspace

    if model is not None and not MODEL_NAME.fullmatch(model):
        raise ConfigError(f"model {model!r}: expected lower-case letters, digits and _, a letter first, 63 at most")
    given = laid_over(load_recipe(recipe).settings if recipe else {}, settings or {})
    path = folder / FILE_NAME
    try:
        Settings.model_validate_json(json.dumps(given))
    except ValidationError as error:
        raise ConfigError(explain(error, Settings, path=path, text="", data=given)) from error
    write_template(folder, model, given)
    made = Workspace.open(folder)
    try:
        upgrade_workspace(made)
    except RetrievalError as error:
        raise type(error)(f"{path} is written, but {error}; once that is mended, `retrieval upgrade`") from error
    return made
