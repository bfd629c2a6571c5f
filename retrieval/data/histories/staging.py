"""Folders that appear under their name only when they are complete."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retrieval.errors import DataError

_PREFIX = ".building-"


@contextmanager
def staged_folder(out: Path, *, replace: bool = False) -> Iterator[Path]:
    """A folder beside `out` to write into; it becomes `out` when the block ends well, and is removed when it doesn't.

    What is at `out` already is put out of the way only then, with `replace`; without it, it is kept (another process
    finished the same folder meanwhile). What killed processes left is cleared.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(out.parent)
        folder = out.parent / f"{_PREFIX}{os.getpid()}-{uuid.uuid4().hex}"
        folder.mkdir()
        try:
            yield folder
            if replace:
                _remove(out)
            try:
                folder.rename(out)
            except OSError:
                if not out.is_dir():
                    raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise DataError(f"{out}: can't be written: {error}") from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        gone = path.with_name(f"{_PREFIX}{os.getpid()}-{uuid.uuid4().hex}")
        path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _clear_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not _alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
