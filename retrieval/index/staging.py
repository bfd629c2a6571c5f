"""Where a build is written before it is published: a folder that a restarted build of the same inputs finds again."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retrieval.errors import ConflictError
from retrieval.storage import ArtifactStore


@contextmanager
def staged_build(store: ArtifactStore, model: str, inputs_hash: str) -> Iterator[Path]:
    """The staging folder of one build, held by this process alone while the block runs.

    It stays when the block raises, so that the next build of the same inputs takes up what is finished; leftovers
    of the model's other builds are removed. Raises ConflictError while another process builds the same.
    """
    name = f"index-{model}-{inputs_hash[:24]}"
    folder = store.staging(name)
    root = folder.parent
    with _held(root / f"{name}.lock") as free:
        if not free:
            raise ConflictError(f"{folder}: another process is building an index of the same inputs; wait for it")
        _remove_leftovers(root, f"index-{model}-", keep=name)
        folder.mkdir(exist_ok=True)  # another build may have taken it for a leftover before it was held
        yield folder


def _remove_leftovers(root: Path, prefix: str, *, keep: str) -> None:
    for other in root.glob(f"{prefix}*"):
        if other.is_dir() and other.name != keep:
            with _held(root / f"{other.name}.lock") as free:
                if free:
                    shutil.rmtree(other, ignore_errors=True)


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Hold a lock file, which the kernel lets go when the process dies. Yields False where another process holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = path.exists() and os.fstat(handle).st_ino == path.stat().st_ino
    except BlockingIOError:
        free = False
    try:
        yield free
    finally:
        if free:
            path.unlink(missing_ok=True)
        os.close(handle)
