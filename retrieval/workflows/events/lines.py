"""Where lines of events come from: a file that grows, or whatever else reads them and keeps how far it came."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from retrieval.data.event_log.json_lines import Line
from retrieval.data.event_log.log import STATE
from retrieval.data.event_log.tail import Tail, load_position, save_position
from retrieval.storage.locks import locked
from retrieval.workflows.workspace.workspace import Workspace


class Lines(Protocol):
    """Lines of events, read in order. For one thread."""

    def read(self) -> list[Line]:
        """The next lines; none where there are none for now."""
        ...

    def keep(self) -> None:
        """Remember that what was read so far is recorded: the next run goes on behind it."""
        ...

    @property
    def ended(self) -> bool:
        """Whether there was nothing more when it was read last."""
        ...


class FileLines:
    """The lines of a file, over rotations (see `Tail`)."""

    def __init__(self, tail: Tail, path: Path, kept: Path) -> None:
        """How far the file at `path` was read is kept in the file `kept`."""
        self._tail, self._path, self._kept = tail, path, kept
        self._idle = 0

    def read(self) -> list[Line]:
        """As of `Lines`. Raises NotFoundError where there is no such file."""
        before = self._tail.position
        lines = self._tail.read()
        self._idle = 0 if lines or self._tail.position != before else self._idle + 1
        return lines

    def keep(self) -> None:
        """As of `Lines`. Raises OSError."""
        assert self._tail.position is not None
        save_position(self._kept, self._path, self._tail.position)

    @property
    def ended(self) -> bool:
        """As of `Lines`: the end of the newest file, those that were renamed before have been read."""
        return self._idle >= 2


@contextmanager
def file_lines(workspace: Workspace, path: Path, *, grace_s: float) -> Iterator[FileLines]:
    """The lines of a file from where the workspace's last run stopped, held by this process alone.

    Raises ConflictError where another process follows it.
    """
    path = path.absolute()
    name = hashlib.blake2b(str(path).encode(), digest_size=8).hexdigest()
    kept = (workspace.root / workspace.settings.data.events).parent / STATE / "followed" / f"{name}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with (
        locked(kept.with_suffix(".lock"), f"{path} is being followed"),
        closing(Tail(path, load_position(kept), grace_s=grace_s)) as tail,
    ):
        yield FileLines(tail, path, kept)
