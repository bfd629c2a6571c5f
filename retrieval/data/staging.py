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
def staged_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write into; it becomes `out` when the block ends well, and is removed when it doesn't.

    If another process finished the same folder meanwhile, its result is kept. What killed processes left is cleared.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(out.parent)
        folder = out.parent / f"{_PREFIX}{os.getpid()}-{uuid.uuid4().hex}"
        folder.mkdir()
        try:
            yield folder
            try:
                folder.rename(out)
            except OSError:
                if not out.is_dir():
                    raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise DataError(f"{out}: can't be written: {error}") from error


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
