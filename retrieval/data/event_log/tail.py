"""Reading a file that grows, and goes on under another name when it is rotated.

Renamed files (`clicks.jsonl` to `clicks.jsonl.1` or `clicks.jsonl-20260101`) are read to their end before the next one;
one that was cut to nothing is read from its beginning. Compressed files are not read: keep the newest one plain.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from retrieval.data.event_log.json_lines import Line
from retrieval.errors import NotFoundError
from retrieval.storage.atomic import write_text

_CHUNK = 1 << 20
_ROTATED = re.compile(r"[.-][0-9][0-9T:_.-]*")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Position:
    """How far a file was read; `inode` and `device` are the file's, `cut` how often it was cut to nothing."""

    device: int
    inode: int
    offset: int
    cut: int = 0


class Tail:
    """The lines of a file, from a position on. For one thread."""

    def __init__(self, path: Path, position: Position | None = None, *, grace_s: float = 5.0) -> None:
        """Begin at `position`, else at the file's beginning.

        A file that was renamed is read for `grace_s` more, as its writer may still have it open.
        """
        self._path, self._grace_s = path, grace_s
        self._file: BinaryIO | None = None
        self._renamed: float | None = None
        self._too_long = False
        self.position = position

    def read(self) -> list[Line]:
        """The next whole lines, at most a mebibyte of them; none where there are none for now.

        Of longer lines it says so in their place. Raises NotFoundError where there is no such file.
        """
        file = self._open()
        assert self.position is not None
        file.seek(self.position.offset)
        content = file.read(_CHUNK)
        whole = content.rfind(b"\n") + 1
        if whole:
            return self._lines(content[:whole])
        if len(content) == _CHUNK:
            self._advance(_CHUNK)
            first, self._too_long = not self._too_long, True
            return [Line(b"", "", "the line is longer than 1 MiB")] if first else []
        return self._at_the_end(file, content)

    def close(self) -> None:
        """Close the file; the position stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _at_the_end(self, file: BinaryIO, rest: bytes) -> list[Line]:
        """What a rotation leaves to do, if there was one; `rest` is a line without an end."""
        assert self.position is not None
        if os.fstat(file.fileno()).st_size < self.position.offset:
            self.position = replace(self.position, offset=0, cut=self.position.cut + 1)
            return []
        if not self._is_renamed():
            self._renamed = None
            return []
        if self._renamed is None:
            self._renamed = time.monotonic()
        if time.monotonic() - self._renamed < self._grace_s:
            return []
        following = _identity(self._following(file))
        if following is None:  # renamed at this very moment
            return []
        lines = self._lines(rest) if rest else []
        self.close()
        self._renamed = None
        self.position = Position(*following, 0)
        return lines

    def _lines(self, content: bytes) -> list[Line]:
        assert self.position is not None
        at, lines = self.position, []
        offset = at.offset
        for one in content.removesuffix(b"\n").split(b"\n"):
            if not self._too_long:
                lines.append(Line(one, _place(at, offset, one)))
            self._too_long = False
            offset += len(one) + 1
        self._advance(len(content))
        return lines

    def _advance(self, by: int) -> None:
        assert self.position is not None
        self.position = replace(self.position, offset=self.position.offset + by)

    def _open(self) -> BinaryIO:
        if self._file is not None:
            return self._file
        path = self._path if self.position is None else self._found(self.position)
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise NotFoundError(f"{path}: can't be read: {error}") from error
        there = os.fstat(self._file.fileno())
        if self.position is None or (self.position.device, self.position.inode) != (there.st_dev, there.st_ino):
            self.position = Position(there.st_dev, there.st_ino, 0)
        return self._file

    def _found(self, position: Position) -> Path:
        """The file of a position, whatever it is called now."""
        for path in self._family():
            if _identity(path) == (position.device, position.inode):
                return path
        _log.warning(
            "%s: the file that was read up to byte %d is gone; lines behind that are lost", self._path, position.offset
        )
        return self._path

    def _is_renamed(self) -> bool:
        assert self.position is not None
        current = _identity(self._path)
        return current is not None and current != (self.position.device, self.position.inode)

    def _following(self, file: BinaryIO) -> Path:
        """The file that was begun after the open one: an older one than that of the name where it was rotated twice."""
        here = os.fstat(file.fileno())
        older = []
        for path in self._family():
            with suppress(OSError):
                found = path.stat()
                if path != self._path and found.st_ino != here.st_ino and found.st_mtime_ns > here.st_mtime_ns:
                    older.append((found.st_mtime_ns, path))
        return min(older)[1] if older else self._path

    def _family(self) -> list[Path]:
        """The file and those that it became by rotation."""
        beside = [
            path
            for path in self._path.parent.glob(f"{_escaped(self._path.name)}?*")
            if _ROTATED.fullmatch(path.name.removeprefix(self._path.name))
        ]
        return [self._path, *beside]


def load_position(path: Path) -> Position | None:
    """What `save_position` wrote; None where there is nothing that can be read."""
    try:
        return Position(**json.loads(path.read_text(encoding="utf-8"))["position"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save_position(path: Path, followed: Path, position: Position) -> None:
    """Keep how far a file was read. Raises OSError."""
    write_text(path, json.dumps({"file": str(followed), "position": asdict(position)}))


def _place(at: Position, offset: int, line: bytes) -> str:
    digest = blake2b(f"{at.device} {at.inode} {at.cut} {offset} ".encode() + line, digest_size=16)
    return digest.hexdigest()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _escaped(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)
