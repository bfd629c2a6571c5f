"""The dataset that everything above works on: histories, and the users and items tables aligned with them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from retrieval.data.config import DataConfig
from retrieval.data.histories.build import build_histories
from retrieval.data.histories.histories import Histories, open_histories
from retrieval.data.reading.snapshot import input_files, snapshot_of
from retrieval.errors import ArtifactError, DataError
from retrieval.observability import track
from retrieval.storage.arrow import read_arrow

_ATTEMPTS = 5
HISTORIES = Path("data") / ".histories"
"""Where built histories lie in a workspace, each under its snapshot."""


@dataclass(frozen=True)
class Dataset:
    """Histories with what is known about their users and items."""

    histories: Histories
    users: pa.Table
    """[U] rows, aligned with histories.user_ids: the id as text, then the profile's columns (null where unknown)."""
    items: pa.Table
    """[N] rows, aligned with histories.item_ids: the id as text, then the item's columns (null where unknown)."""
    snapshot: str


def open_dataset(config: DataConfig, root: Path, *, show: bool = True) -> Dataset:
    """The dataset that the settings name; its histories are built, or found again if inputs and settings are the same.

    Raises DataError for what is wrong with the files.
    """
    for _ in range(_ATTEMPTS):
        files = input_files(config, root)  # files that are added from now on are not of this snapshot
        states = _states(files)
        try:
            histories, built = _opened_or_built(config, root, files, show=show)
        except (DataError, FileNotFoundError):
            if _states(files) == states:
                raise
            continue  # files were replaced, or merged into others, while they were read
        if not built or _states(files) == states:
            return _with_tables(histories)
        shutil.rmtree(histories.path, ignore_errors=True)  # what they hold is of no one snapshot
    raise DataError(f"{root / config.events}: the files change faster than they are read; change them less often")


def _opened_or_built(
    config: DataConfig, root: Path, files: Sequence[tuple[str, Path]], *, show: bool
) -> tuple[Histories, bool]:
    """The histories of these files, and whether they were built just now."""
    size = sum(path.stat().st_size for _, path in files)
    with track("Hashing the inputs", size, unit="bytes", show=show and size > 1 << 28) as tracker:
        snapshot = snapshot_of(config, root, files=files, tracker=tracker)
    path = histories_folder(root, snapshot)
    found = _open_or_none(path)
    if found is not None:
        return found, False
    events = [file for name, file in files if name.startswith("events/")]
    return build_histories(config, root, path, snapshot=snapshot, files=events, show=show), True


def read_dataset(path: Path) -> Dataset:
    """The dataset whose histories lie built at `path`. Raises ArtifactError where they don't, or are damaged."""
    return _with_tables(open_histories(path))


def _states(files: Sequence[tuple[str, Path]]) -> list[tuple[int, int]]:
    """Size and time of change (ns) of each file; (-1, -1) for one that is gone."""
    return [_state(path) for _, path in files]


def _state(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def histories_folder(root: Path, snapshot: str) -> Path:
    """Where the histories of a snapshot lie, or would, in the workspace at `root`."""
    return root / HISTORIES / snapshot


def remove_unless_opened(path: Path, built_ns: int) -> bool:
    """Remove histories, and what was built beside them, that nobody has opened since `built_ns`, their time of change.

    For who builds many, as refreshes do. What has been mapped stays readable. False where they were opened.
    """
    try:
        if path.stat().st_mtime_ns != built_ns:
            return False
    except FileNotFoundError:
        return True
    shutil.rmtree(path, ignore_errors=True)
    for beside in path.parent.glob(f"{path.name}.*"):
        beside.unlink(missing_ok=True)
    return True


def _with_tables(histories: Histories) -> Dataset:
    users, items = (read_arrow(histories.path / name) for name in ("users.arrow", "items.arrow"))
    return Dataset(histories, users, items, histories.snapshot)


def _open_or_none(path: Path) -> Histories | None:
    """Histories at `path`, None where there are none. Damaged ones are put aside, to be built again."""
    if not path.is_dir():
        return None
    try:
        found = open_histories(path)
    except ArtifactError:
        path.rename(path.with_name(f".damaged-{path.name}"))
        return None
    with suppress(OSError):  # a folder of somebody else's
        os.utime(path)  # whoever built it sees that it is in use: see `remove_unless_opened`
    return found
