"""Ids of the events that were recorded lately, by their hash, in an LMDB file: what is sent again is found in it.

They lie in generations of half the time for which ids are kept; the newest three are kept. It is made of the segments:
where it is missing, or behind them, the log adds what it lacks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import lmdb

from retrieval.errors import ArtifactError, UnavailableError

_GIB = 256  # addresses, not disk
_META, _INDEXED = b"meta", b"indexed"
_KEPT = 3


def id_hash(event_id: str) -> bytes:
    """The 16 bytes by which an id is known."""
    return blake2b(event_id.encode(), digest_size=16).digest()


class KnownIds:
    """The ids in one folder. For one process, and one thread at a time."""

    def __init__(self, folder: Path, *, kept_s: float) -> None:
        """Open them, made where there are none. Raises ArtifactError for a file that can't be read."""
        folder.mkdir(parents=True, exist_ok=True)
        self._half_s = kept_s / 2
        try:
            self._environment = lmdb.open(str(folder), map_size=_GIB << 30, max_dbs=4096, readahead=False)
            self._meta = self._environment.open_db(_META)
            self._generations = self._open_generations()
        except lmdb.Error as error:
            raise ArtifactError(
                f"{folder}: the ids of recorded events can't be read: {error}; remove the folder, and they are "
                "collected from the segments again"
            ) from error

    def indexed(self) -> int:
        """The newest segment whose ids are in it; 0 for none."""
        with self._environment.begin(db=self._meta) as transaction:
            value = transaction.get(_INDEXED)
        return int.from_bytes(value, "big") if value else 0

    def known(self, hashes: Iterable[bytes]) -> set[bytes]:
        """Those of the hashes that are known. Raises UnavailableError."""
        try:
            with self._environment.begin() as transaction:
                opened = [handle for _, handle in self._generations]
                return {one for one in hashes if any(transaction.get(one, db=handle) is not None for handle in opened)}
        except lmdb.Error as error:
            raise UnavailableError(f"the ids of recorded events can't be read: {error}") from error

    def add(self, hashes: Iterable[bytes], segment: int, *, now_s: float | None = None) -> None:
        """Add the ids of a segment, all or none; generations that are too old are emptied. Raises UnavailableError."""
        number = int((time.time() if now_s is None else now_s) / self._half_s)
        if self._generations:
            number = max(number, self._generations[-1][0])  # the clock may have been put back
        try:
            handle = self._generation(number)
            with self._environment.begin(write=True) as transaction:
                with transaction.cursor(db=handle) as cursor:
                    cursor.putmulti(sorted((one, b"") for one in hashes), overwrite=True)
                before = transaction.get(_INDEXED, db=self._meta)
                done = max(segment, int.from_bytes(before, "big") if before else 0)
                transaction.put(_INDEXED, done.to_bytes(8, "big"), db=self._meta)
                self._drop_older(transaction, number - _KEPT + 1)
        except lmdb.Error as error:
            raise UnavailableError(f"the ids of recorded events can't be written: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._environment.close()

    def _open_generations(self) -> list[tuple[int, Any]]:
        with self._environment.begin() as transaction, transaction.cursor() as cursor:
            names = [bytes(key) for key in cursor.iternext(values=False) if bytes(key) != _META]
        return [(int(name), self._environment.open_db(name)) for name in sorted(names)[-_KEPT:]]

    def _generation(self, number: int) -> Any:
        for known, handle in self._generations:
            if known == number:
                return handle
        handle = self._environment.open_db(b"%012d" % number)
        self._generations.append((number, handle))
        return handle

    def _drop_older(self, transaction: Any, oldest: int) -> None:
        for number, handle in self._generations:
            if number < oldest:
                transaction.drop(handle, delete=False)  # another thread may be reading it
        self._generations = [one for one in self._generations if one[0] >= oldest]
