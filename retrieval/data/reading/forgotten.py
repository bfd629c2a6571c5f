"""Users who are to be forgotten: what they did up to then is left out wherever events are read or recorded.

The list is a file beside the events, a line of JSON a user. It stays after their rows are removed, so that they don't
come back with an older log that is imported again; of a user who comes back, what is later than the entry counts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock

from retrieval.arrays import Ints, Mask
from retrieval.data.config import DataConfig
from retrieval.errors import DataError
from retrieval.storage.atomic import write_text

FILE = "forgotten.jsonl"


@dataclass(frozen=True)
class Forgotten:
    """Users, by id as text, with the moment (µs) up to which what they did is forgotten."""

    until_us: Mapping[str, int]

    def __bool__(self) -> bool:
        return bool(self.until_us)

    def covers(self, users: pa.Array, micros: Ints) -> Mask:
        """Of events, by their users (int64 or large_string) and times: which are forgotten, bool [n]."""
        ids, until = self._integers if users.type == pa.int64() else self._texts
        place = pc.index_in(users, ids).fill_null(-1).to_numpy(zero_copy_only=False)
        found: Mask = (place >= 0) & (micros <= until[place])
        return found

    @cached_property
    def _texts(self) -> tuple[pa.Array, Ints]:
        return pa.array(list(self.until_us), pa.large_string()), _limits(self.until_us.values())

    @cached_property
    def _integers(self) -> tuple[pa.Array, Ints]:
        whole = {int(user): until for user, until in self.until_us.items() if _is_integer(user)}
        return pa.array(list(whole), pa.int64()), _limits(whole.values())


NOBODY = Forgotten({})


class ForgottenFile:
    """The list in a file, read again when it has changed. Any number of threads may read it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[tuple[int, int, int] | None, Forgotten] = (None, NOBODY)

    def current(self) -> Forgotten:
        """The list as it is now. Raises DataError where it can't be read."""
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                stamp = found.st_mtime_ns, found.st_size, found.st_ino
                if stamp != self._read[0]:
                    self._read = stamp, _parsed(file.read())
        except FileNotFoundError:
            self._read = None, NOBODY
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self._path}: the list of users to be forgotten can't be read: {error}") from error
        return self._read[1]

    def add(self, user_id: str, until_us: int) -> None:
        """Put a user on the list, on disk when this returns. Raises DataError, OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._path.with_name(f".{self._path.name}.lock")):
            now = dict(self.current().until_us)
            now[user_id] = max(until_us, now.get(user_id, 0))
            lines = (json.dumps({"user": user, "until_us": until}) for user, until in sorted(now.items()))
            write_text(self._path, "".join(f"{line}\n" for line in lines))


def forgotten_file(config: DataConfig, root: Path) -> Path:
    """Where the list of a workspace's data lies, or would."""
    return (root / config.events).parent / FILE


def load_forgotten(config: DataConfig, root: Path) -> Forgotten:
    """The list of a workspace's data. Raises DataError."""
    return ForgottenFile(forgotten_file(config, root)).current()


def _parsed(content: bytes) -> Forgotten:
    rows = [json.loads(line) for line in content.decode("utf-8").split("\n") if line]
    return Forgotten({str(row["user"]): int(row["until_us"]) for row in rows})


def _limits(values: object) -> Ints:
    return np.array([*values, 0], np.int64)  # type: ignore[misc]  # the last one for those who are not on the list


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() and len(text) <= 19
