"""Folders of data that appear under their name when they are complete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retrieval.errors import DataError
from retrieval.storage.atomic import Existing, staged_folder


@contextmanager
def written_folder(out: Path, *, existing: Existing) -> Iterator[Path]:
    """An empty folder to write into that becomes `out` when the block ends; the folders above are made.

    `existing` says what becomes of an `out` that is there by then (see `staged_folder`). Raises DataError, naming
    `out`, for whatever the disk refuses meanwhile.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with staged_folder(out, existing=existing) as folder:
            yield folder
    except OSError as error:
        raise DataError(f"{out}: can't be written: {error}") from error
