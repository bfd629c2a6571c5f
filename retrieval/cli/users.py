"""`retrieval users`: the user store that the candidate service reads."""

from __future__ import annotations

from typing import Annotated

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    noun = typer.Typer(help="The user store: histories and profiles at serving time.", no_args_is_help=True)
    noun.command("load")(load)
    noun.command("show")(show)
    app.add_typer(noun, name="users")


def load(
    *,
    keep_others: Annotated[
        bool, typer.Option("--keep-others", help="Keep users who are not in the data (any more).")
    ] = False,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Fill the user store from the workspace's events and users; services that read it see the new records at once.

    Example: `retrieval users load`
    """
    from retrieval.workflows.fleet.users import load_users

    done = load_users(open_workspace(workspace, overrides), keep_others=keep_others, show=not as_json)
    result = {"users": done.users, "loaded": done.loaded, "dropped": done.dropped, "folder": str(done.folder)}
    emit(
        result,
        as_json,
        lambda console: console.print(
            f"{done.loaded:,} users loaded, {done.dropped:,} dropped, {done.users:,} in {done.folder}"
        ),
    )


def show(
    user: Annotated[str, typer.Argument(help="User id.")],
    *,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Print what the store knows of a user.

    Example: `retrieval users show 42 --json`
    """
    from google.protobuf.json_format import MessageToDict

    from retrieval.workflows.fleet.users import find_user

    record = find_user(open_workspace(workspace, overrides), user)
    result = MessageToDict(record, preserving_proto_field_name=True)
    emit(result, as_json, lambda console: console.print_json(data=result))
