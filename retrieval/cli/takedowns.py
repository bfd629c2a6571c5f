"""`retrieval takedowns`: items that are never answered, whatever an index holds."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace

ItemsArgument = Annotated[list[str], typer.Argument(help="Item ids.", metavar="ITEM…")]


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    noun = typer.Typer(help="Items that are never answered, whatever an index holds.", no_args_is_help=True)
    noun.command("add")(add)
    noun.command("remove")(remove)
    noun.command("list")(list_)
    app.add_typer(noun, name="takedowns")


def add(
    items: ItemsArgument,
    *,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Take items down: ANN hosts that read the list (serving.takedowns) answer none of them within a second or two.

    Example: `retrieval takedowns add sku-17 sku-18`
    """
    from retrieval.workflows.fleet.takedowns import take_down

    done = take_down(open_workspace(workspace, overrides), items)
    emit(
        asdict(done),
        as_json,
        lambda console: console.print(f"{done.changed:,} taken down, {done.listed:,} in {done.file}"),
    )


def remove(
    items: ItemsArgument,
    *,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Let items be answered again.

    Example: `retrieval takedowns remove sku-17`
    """
    from retrieval.workflows.fleet.takedowns import put_back

    done = put_back(open_workspace(workspace, overrides), items)
    emit(
        asdict(done),
        as_json,
        lambda console: console.print(f"{done.changed:,} put back, {done.listed:,} in {done.file}"),
    )


def list_(as_json: JsonOption = False, workspace: WorkspaceOption = None, overrides: SetOption = None) -> None:
    """Print the items that are taken down, one a line.

    Example: `retrieval takedowns list`
    """
    from retrieval.workflows.fleet.takedowns import list_takedowns

    found = list_takedowns(open_workspace(workspace, overrides))
    emit(found, as_json, lambda console: console.print("\n".join(found), markup=False, highlight=False, soft_wrap=True))
