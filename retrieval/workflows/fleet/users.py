"""The user store of a workspace: filling it from the data, and looking a user up."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.data import Dataset
from retrieval.data.dataset import HISTORIES, read_dataset
from retrieval.data.reading.forgotten import ForgottenFile, forgotten_file
from retrieval.errors import ArtifactError, NotFoundError
from retrieval.observability import track
from retrieval.serving.users.changes import changed_users
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
            for count in store.load(user_records(dataset), forgotten=_forgotten(workspace)):
                loaded += count
                tracker.advance(count)
        dropped = 0 if keep_others else store.drop_older(began)
        note_snapshot(folder, dataset.snapshot)
        return LoadedUsers(store.count(), loaded, dropped, folder)


def load_changed_users(workspace: Workspace, dataset: Dataset) -> LoadedUsers:
    """Bring the user store up to the dataset: only users whose events or profile are others than before are written.

    What was before is the snapshot that the store was filled from, whose histories are kept beside the data; where they
    are gone, or the store was not filled to the end, all users are loaded. Users that are not in the data (any more)
    stay. Raises as `load_users`.
    """
    settings = workspace.settings.serving
    folder = workspace.root / settings.user_store
    before = _loaded_snapshot(workspace)
    if before == dataset.snapshot:
        with closing(UserStore.open(folder, gib=settings.user_store_gib)) as store:
            return LoadedUsers(store.count(), 0, 0, folder)
    try:
        known = read_dataset(workspace.root / HISTORIES / before) if before else None
    except ArtifactError:
        known = None
    if known is None:
        return load_users(workspace, dataset=dataset, keep_others=True, show=False)
    changed = changed_users(dataset, known)
    with closing(UserStore.open(folder, gib=settings.user_store_gib, write=True)) as store:
        loaded = sum(store.load(user_records(dataset, changed), forgotten=_forgotten(workspace)))
        note_snapshot(folder, dataset.snapshot)
        return LoadedUsers(store.count(), loaded, 0, folder)


def note_snapshot(folder: Path, snapshot: str) -> None:
    """Note that the user store in `folder` was filled, to the end, from the data of this snapshot."""
    (folder / _SNAPSHOT).write_text(snapshot, encoding="utf-8")


def _forgotten(workspace: Workspace) -> ForgottenFile:
    return ForgottenFile(forgotten_file(workspace.settings.data, workspace.root))


def users_are_current(workspace: Workspace, snapshot: str) -> bool:
    """Whether the user store was filled, to the end, from the data of this `snapshot`."""
    return _loaded_snapshot(workspace) == snapshot


def _loaded_snapshot(workspace: Workspace) -> str:
    """The data snapshot that the user store was filled from, to the end; empty where there is none."""
    try:
        return (workspace.root / workspace.settings.serving.user_store / _SNAPSHOT).read_text(encoding="utf-8")
    except OSError:
        return ""


def find_user(workspace: Workspace, user_id: str) -> user_pb2.UserRecord:
    """What the user store knows of a user. Raises NotFoundError."""
    settings = workspace.settings.serving
    with closing(UserStore.open(workspace.root / settings.user_store, gib=settings.user_store_gib)) as store:
        record = store.record(user_id)
    if record is None:
        raise NotFoundError(f"user {user_id!r}: not in the user store")
    return record
