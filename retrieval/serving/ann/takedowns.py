"""The list of items that must never be answered, whatever an index holds: a text file that an ANN host keeps an eye on.

UTF-8, one raw item id a line, taken as it stands; lines of nothing but white space are skipped. There are no comments:
an id may begin with any character. Write a new list beside the old one and rename it into place: one that is read while
it is being written counts as far as it is written.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from retrieval.errors import ConfigError

_log = logging.getLogger(__name__)
_Stamp = tuple[int, int, int]
_SETTLED_NS = 2_000_000_000  # a file changed so lately may change again without another time of change


class TakedownFile:
    """Reads the list at `path`, and reads it again when the file has changed. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._item_ids: frozenset[str] = frozenset()
        self._stamp: _Stamp | None = None
        self._trouble = ""

    def read(self) -> frozenset[str]:
        """The ids that it lists. Raises ConfigError where it can't be read, or is not UTF-8."""
        try:
            with self._path.open("rb") as file:
                # Of the open file, before it is read: a later change is seen next time, whatever was read of it
                found = os.fstat(file.fileno())
                self._item_ids = parsed(file.read())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self._path}: the list of takedowns can't be read: {error}") from error
        self._stamp = _stamp(found) if time.time_ns() - found.st_mtime_ns > _SETTLED_NS else None
        self._trouble = ""
        return self._item_ids

    def changed(self) -> frozenset[str] | None:
        """The ids where they are others than those read last; None where they aren't, or can't be read now.

        What keeps them from being read is logged, once.
        """
        before = self._item_ids
        try:
            if _stamp(self._path.stat()) == self._stamp:
                self._trouble = ""
                return None
            now = self.read()
        except (OSError, ConfigError) as error:
            if str(error) != self._trouble:
                _log.warning("takedowns: the list read last stays in force: %s", error)
            self._trouble = str(error)
            return None
        return now if now != before else None


class TakedownWatch:
    """Looks at the file every so often, in a thread of its own: no load, and no registry that hangs, can hold it up."""

    def __init__(self, file: TakedownFile, apply: Callable[[frozenset[str]], None], *, every_s: float = 1.0) -> None:
        """`apply` is given the ids whenever they are others."""
        self._file, self._apply, self._every_s = file, apply, every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="takedowns", daemon=True)

    def start(self) -> None:
        """Apply the list as it is now, then watch. Raises ConfigError where it can't be read."""
        self._apply(self._file.read())
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        waiting: frozenset[str] | None = None
        while not self._ended.wait(self._every_s):
            try:
                item_ids = self._file.changed()
                waiting = waiting if item_ids is None else item_ids
                if waiting is not None:
                    self._apply(waiting)
                    waiting = None
            except Exception:  # noqa: BLE001 - whatever it was, the watch goes on
                _log.exception("takedowns: the list could not be applied; trying again")


def parsed(content: bytes) -> frozenset[str]:
    """The ids in a list's bytes. Raises UnicodeDecodeError."""
    # Not splitlines: an id may hold what that takes for an end of line
    lines = (line.removesuffix("\r") for line in content.decode("utf-8-sig").split("\n"))
    return frozenset(line for line in lines if line.strip())


def _stamp(found: os.stat_result) -> _Stamp:
    return found.st_mtime_ns, found.st_size, found.st_ino
