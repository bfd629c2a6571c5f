"""Folders of unfinished work that a restarted process finds again by name, each held by one process at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retrieval.storage.locks import locked, locked_or_not


@contextmanager
def resumable_folder(folder: Path, *, others: str) -> Iterator[Path]:
    """The folder, with what an earlier process left in it, held by this process alone while the block runs.

    It is made where absent, and stays when the block raises. Folders beside it whose names begin with `others` are
    leftovers and removed, unless a process holds them. Raises ConflictError while another process holds this one.
    """
    with locked(_lock_of(folder), f"{folder} is being worked on"):
        for other in folder.parent.glob(f"{others}*"):
            if other.is_dir() and other != folder:
                _remove_unless_held(other)
        folder.mkdir(exist_ok=True)
        yield folder


def _remove_unless_held(folder: Path) -> None:
    with locked_or_not(_lock_of(folder)) as free:
        if free:
            shutil.rmtree(folder, ignore_errors=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")
