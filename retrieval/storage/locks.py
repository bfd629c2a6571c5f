"""Locks between processes: a file that one process holds at a time, let go by the kernel when that process dies."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from retrieval.errors import ConflictError, UnavailableError


@contextmanager
def locked(path: Path, held: str) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; its folder must be there.

    `held` says what it stands for, as in "a fleet runs on /srv/shop". Raises ConflictError, which says that and which
    process it is, where another process (or another thread of this one) holds it; UnavailableError where the file
    can't be made.
    """
    with locked_or_not(path) as free:
        if not free:
            raise ConflictError(f"{held} ({_holder(path)}; the lock is {path}); wait for it, or stop it")
        yield


@contextmanager
def locked_or_not(path: Path) -> Iterator[bool]:
    """As `locked`, but yields False where another process holds the lock, and True where it is held here."""
    if not path.parent.is_dir():
        raise UnavailableError(f"{path}: can't be locked: there is no folder {path.parent}")
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    except OSError as error:
        raise UnavailableError(f"{path}: can't be locked: {error}") from error
    try:
        _sign(path)
        yield True
    finally:
        # while it is still held: who opened the file before finds it gone, and makes a new one
        path.unlink(missing_ok=True)
        lock.release()


def _sign(path: Path) -> None:
    """Say in the file who holds it; for people only, so a disk that is full is no reason to stop."""
    with suppress(OSError):
        text = f"process {os.getpid()} of {_user()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z"
        path.write_text(text, encoding="utf-8")


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:200] or "by a process that has not said which"
    except OSError:
        return "by a process that has just ended"


def _user() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        return socket.gethostname()
