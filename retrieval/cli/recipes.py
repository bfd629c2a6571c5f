"""`retrieval recipes`: lists the settings that are shipped, and for what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.console import JsonOption, emit, table

if TYPE_CHECKING:
    from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    app.command("recipes")(recipes)


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this one whole.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the recipes: settings measured on known data, for `retrieval init --recipe` and `retrieval train --recipe`.

    Example: `retrieval recipes long-histories`
    """
    from retrieval.workflows.workspace.recipes import load_recipe, recipe_names

    if name is not None:
        recipe = load_recipe(name)
        result = {"name": recipe.name, "summary": recipe.summary, "settings": recipe.settings}

        def show_one(console: Console) -> None:
            from rich.syntax import Syntax

            console.print(Syntax(recipe.text, "toml", word_wrap=True))

        emit(result, as_json, show_one)
        return
    rows = [(each, load_recipe(each).summary) for each in recipe_names()]

    def show(console: Console) -> None:
        console.print(table("recipes", ["name", "for"], [list(row) for row in rows]))

    emit([{"name": each, "summary": summary} for each, summary in rows], as_json, show)
