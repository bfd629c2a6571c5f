"""`retrieval init`: makes a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from retrieval.cli.console import JsonOption, emit
from retrieval.config import FILE_NAME
from retrieval.errors import ConfigError
from retrieval.types import MODEL_NAME
from retrieval.workflows.workspace.recipes import load_recipe
from retrieval.workflows.workspace.template import write_template


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    app.command("init")(init)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the new workspace; made if it isn't there.")],
    model: Annotated[str | None, typer.Option("--model", help="Name of the model that is trained here.")] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", metavar="NAME", help="Write a recipe's settings into it; `retrieval recipes` lists them."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a workspace: write a commented retrieval.toml with every setting and its default, or that of a recipe.

    Example: `retrieval init shop --model homefeed`

    With a recipe, import with `--write-settings --keep-features`, so that its features stay:
    `retrieval init films --recipe ml1m-time`
    """
    if model is not None and not MODEL_NAME.fullmatch(model):
        raise ConfigError(f"--model {model!r}: expected lower-case letters, digits and _, a letter first, 63 at most")
    path = write_template(folder, model, load_recipe(recipe).settings if recipe else None)
    result = {"workspace": str(folder.resolve()), "settings": str(path.resolve())}

    emit(
        result,
        as_json,
        lambda console: console.print(
            f"Made {path}. Next: put your logs under {folder / 'data'} (`retrieval data import --help`), "
            f"look through {FILE_NAME}, then `retrieval train`.",
            highlight=False,
            soft_wrap=True,
        ),
    )
