"""The user store of a workspace: filling it from the data, and looking a user up."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.data import Dataset
from retrieval.errors import NotFoundError
from retrieval.observability import track
from retrieval.serving.users.loading import user_records
from retrieval.serving.users.store import UserStore
from retrieval.workflows.workspace.workspace import Workspace

if TYPE_CHECKING:
    from retrieval.v1 import user_pb2


_SNAPSHOT = "snapshot"
"""File in the store's folder: the data snapshot that it was filled from. Written last, gone while it is filled."""


@dataclass(frozen=True, slots=True)
class LoadedUsers:
    """How many users the store in `folder` holds now, how many were written, and how many dropped."""

    users: int
    loaded: int
    dropped: int
    folder: Path


def load_users(
    workspace: Workspace, *, dataset: Dataset | None = None, keep_others: bool = False, show: bool = True
) -> LoadedUsers:
    """Fill the user store from the workspace's events and users; services that read it see the new records at once.

    `dataset` is the workspace's, for callers that have opened it. Users that are not in the data are dropped, except
    with `keep_others`. Raises DataError, NotFoundError.
    """
    settings = workspace.settings.serving
    dataset = dataset or workspace.dataset(show=show)
    folder = workspace.root / settings.user_store
    began = time.time_ns() // 1000
    loaded = 0
    (folder / _SNAPSHOT).unlink(missing_ok=True)
    with closing(UserStore.open(folder, gib=settings.user_store_gib, write=True)) as store:
        with track("Loading users", dataset.histories.users, unit="users", show=show) as tracker:
            for count in store.load(user_records(dataset)):
                loaded += count
                tracker.advance(count)
        dropped = 0 if keep_others else store.drop_older(began)
        (folder / _SNAPSHOT).write_text(dataset.snapshot, encoding="utf-8")
        return LoadedUsers(store.count(), loaded, dropped, folder)


def users_are_current(workspace: Workspace, snapshot: str) -> bool:
    """Whether the user store was filled, to the end, from the data of this `snapshot`."""
    try:
        told = (workspace.root / workspace.settings.serving.user_store / _SNAPSHOT).read_text(encoding="utf-8")
    except OSError:
        return False
    return told == snapshot


def find_user(workspace: Workspace, user_id: str) -> user_pb2.UserRecord:
    """What the user store knows of a user. Raises NotFoundError."""
    settings = workspace.settings.serving
    with closing(UserStore.open(workspace.root / settings.user_store, gib=settings.user_store_gib)) as store:
        record = store.record(user_id)
    if record is None:
        raise NotFoundError(f"user {user_id!r}: not in the user store")
    return record
