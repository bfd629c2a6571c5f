"""`retrieval users`: the user store that the candidate service reads."""

from __future__ import annotations

import time
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
    from retrieval.data import open_dataset
    from retrieval.observability import track
    from retrieval.serving.users.loading import user_records
    from retrieval.serving.users.store import UserStore

    here = open_workspace(workspace, overrides)
    settings = here.settings.serving
    dataset = open_dataset(here.settings.data, here.root, show=not as_json)
    folder = here.root / settings.user_store
    began = time.time_ns() // 1000
    store = UserStore.open(folder, gib=settings.user_store_gib, write=True)
    loaded = 0
    with track("Loading users", dataset.histories.users, unit="users", show=not as_json) as tracker:
        for count in store.load(user_records(dataset)):
            loaded += count
            tracker.advance(count)
    dropped = 0 if keep_others else store.drop_older(began)
    total = store.count()
    store.close()
    result = {"users": total, "loaded": loaded, "dropped": dropped, "folder": str(folder)}
    emit(
        result,
        as_json,
        lambda console: console.print(f"{loaded:,} users loaded, {dropped:,} dropped, {total:,} in {folder}"),
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

    from retrieval.errors import NotFoundError
    from retrieval.serving.users.store import UserStore

    here = open_workspace(workspace, overrides)
    store = UserStore.open(here.root / here.settings.serving.user_store, gib=here.settings.serving.user_store_gib)
    record = store.record(user)
    store.close()
    if record is None:
        raise NotFoundError(f"user {user!r}: not in the user store")
    result = MessageToDict(record, preserving_proto_field_name=True)
    emit(result, as_json, lambda console: console.print_json(data=result))
