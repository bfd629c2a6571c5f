"""`retrieval users`: the user store that the candidate service reads."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, confirmed, emit, open_workspace, table
from retrieval.cli.data_tables import pairs


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    noun = typer.Typer(help="The user store: histories and profiles at serving time.", no_args_is_help=True)
    noun.command("load")(load)
    noun.command("show")(show)
    noun.command("forget")(forget)
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


def forget(
    user: Annotated[str, typer.Argument(help="User id.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Remove a user's history, profile, and rows of the data, and print a receipt; services may run.

    The user is left out from now on wherever events are read: of one who comes back, only what is done later counts.
    The receipt's digest and counts are in the audit trail.

    Example: `retrieval users forget 42 --yes --json`
    """
    from retrieval.workflows.events.forget import forget_user

    opened = open_workspace(workspace, overrides)
    if not yes:
        confirmed(f"Remove all that {opened.root} knows of user {user!r}?")
    receipt = asdict(forget_user(opened, user))
    receipt["remains"] = list(receipt["remains"])
    emit(receipt, as_json, lambda console: console.print(table("Receipt", ["", ""], pairs(receipt))))
