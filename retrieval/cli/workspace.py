"""`retrieval init` and `retrieval upgrade`: the only commands that make or migrate a workspace's stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace
from retrieval.cli.rows import plain
from retrieval.config import FILE_NAME

if TYPE_CHECKING:
    from rich.console import Console

    from retrieval.workflows.workspace.upgrade import Upgraded


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    app.command("init")(init)
    app.command("upgrade")(upgrade)


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

    Makes the registry, the artifact store and the user store that the settings name, too, where they are missing.

    Example: `retrieval init shop --model homefeed`

    With settings that were measured on data of the same shape:
    `retrieval init films --recipe long-histories`
    """
    from retrieval.workflows.workspace import create_workspace

    made = create_workspace(folder, model=model, recipe=recipe)
    path = folder / FILE_NAME
    result = {"workspace": str(made.root), "settings": str(path.resolve())}

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


def upgrade(workspace: WorkspaceOption = None, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Migrate the registry to this program's schema; make it, and the stores, where the settings name new ones.

    What is there and up to date stays as it is. No other command but `retrieval init` makes or migrates them.

    Example: `retrieval upgrade --workspace shop`
    """
    from retrieval.workflows.workspace.upgrade import upgrade_workspace

    done = upgrade_workspace(open_workspace(workspace, overrides))
    emit(plain(done), as_json, lambda console: _show(console, done))


def _show(console: Console, done: Upgraded) -> None:
    before, after = done.registry.before, done.registry.after
    how = "up to date" if before == after else f"migrated from {before}" if before else "made"
    console.print(f"registry {done.registry.masked_url}: schema {after}, {how}", highlight=False, soft_wrap=True)
    console.print(f"artifact store: {done.store}", highlight=False, soft_wrap=True)
    console.print(f"user store: {done.user_store}", highlight=False, soft_wrap=True)
