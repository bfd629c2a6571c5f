"""LMDB files, each opened once in a process however many ask for it: LMDB doesn't bear to be opened twice."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

import lmdb

_File = tuple[int, int]
"""Device and inode: a file that was put in another's place is another one."""


@dataclass
class _Open:
    environment: lmdb.Environment
    uses: int = 0


_open: dict[_File, _Open] = {}
_lock = threading.Lock()


class SharedEnvironment:
    """One use of the environment of a folder; what `environment` gives is closed with its last use."""

    def __init__(self, folder: Path, *, gib: int) -> None:
        """Open the file in `folder`, made first where there is none, or share what this process has opened already.

        It can grow to so many GiB, by the first who opened it. It is opened to write wherever the process may, so that
        a reader and a writer can share it. Raises lmdb.Error, OSError.
        """
        path = folder / "data.mdb"
        with _lock:
            known = _open.get(_file(path)) if path.exists() else None
            if known is None:
                known = _Open(_opened(folder, gib, readonly=path.exists() and not os.access(path, os.W_OK)))
            self._key = _file(path)
            _open[self._key] = known
            known.uses += 1
        self._known, self._closed = known, False

    @property
    def environment(self) -> lmdb.Environment:
        """The environment, whose transactions are the threads' own."""
        return self._known.environment

    @property
    def readonly(self) -> bool:
        """Whether this process may only read it."""
        return bool(self.environment.flags()["readonly"])

    def close(self) -> None:
        """Let go of it; again does nothing."""
        with _lock:
            if self._closed:
                return
            self._closed = True
            self._known.uses -= 1
            if self._known.uses == 0:
                del _open[self._key]
                self._known.environment.close()


def _file(path: Path) -> _File:
    found = path.stat()
    return found.st_dev, found.st_ino


def _opened(folder: Path, gib: int, *, readonly: bool) -> lmdb.Environment:
    return lmdb.open(str(folder), map_size=gib << 30, readonly=readonly, max_readers=1024, readahead=False, lock=True)
