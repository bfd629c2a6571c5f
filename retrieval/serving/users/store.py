"""The user store: each user's history and profile, in an LMDB file that is filled while services read it."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import lmdb
from google.protobuf.message import DecodeError

from retrieval.data.reading.forgotten import ForgottenFile
from retrieval.errors import ArtifactError, NotFoundError, UnavailableError
from retrieval.serving.core.candidates import StoredUser
from retrieval.serving.users.environments import SharedEnvironment
from retrieval.serving.users.recorded import Engagement, add_recorded, forget_until, is_waited_for, take_over
from retrieval.serving.wire.user_messages import read_history, read_values
from retrieval.v1 import user_pb2

_log = logging.getLogger(__name__)
_LONGEST_KEY = 480  # LMDB's own limit is 511 bytes
_PER_TRANSACTION = 5000


class UserStore:
    """Reads and writes UserRecords by user id. Thread-safe; one process writes at a time, any number read."""

    def __init__(self, shared: SharedEnvironment) -> None:
        self._shared = shared
        self._environment = shared.environment

    @classmethod
    def open(cls, folder: Path, *, gib: int = 64, write: bool = False) -> UserStore:
        """Open the store in `folder`, to read or, with `write`, to fill; any number of times in a process.

        Raises NotFoundError, ArtifactError.
        """
        if not (folder / "data.mdb").is_file():
            raise NotFoundError(f"{folder}: no user store; put it back if it was moved, `retrieval upgrade` makes one")
        return cls._opened(folder, gib, write=write)

    @classmethod
    def create(cls, folder: Path, *, gib: int = 64) -> UserStore:
        """Open the store in `folder` to fill it, made first where there is none. Raises ArtifactError."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls._opened(folder, gib, write=True)

    @classmethod
    def _opened(cls, folder: Path, gib: int, *, write: bool) -> UserStore:
        try:
            shared = SharedEnvironment(folder, gib=gib)
        except (lmdb.Error, OSError) as error:
            raise ArtifactError(f"{folder}: not a user store that can be opened: {error}") from error
        if write and shared.readonly:
            shared.close()
            raise ArtifactError(f"{folder}: this user may read the user store, not write it")
        return cls(shared)

    def get(self, user_id: str) -> StoredUser | None:
        """A user's history and profile, or None. Raises as `record` does."""
        record = self.record(user_id)
        return None if record is None else StoredUser(read_history(record.history), read_values(record.profile))

    def record(self, user_id: str) -> user_pb2.UserRecord | None:
        """A user's record, or None. Raises UnavailableError (can't be read), ArtifactError (the record is damaged)."""
        try:
            with self._environment.begin() as transaction:
                value = transaction.get(_key(user_id))
        except lmdb.Error as error:
            raise UnavailableError(f"the user store can't be read: {error}") from error
        return None if value is None else _parsed(user_id, value)

    def count(self) -> int:
        """How many users it holds."""
        return int(self._environment.stat()["entries"])

    def load(
        self, records: Iterable[tuple[str, user_pb2.UserRecord]], *, forgotten: ForgottenFile | None = None
    ) -> Iterator[int]:
        """Write records over what is there, some thousands in one transaction; yields how many were written each time.

        Readers see each transaction as a whole. `loaded_at` is set here. Engagements that were recorded lately, and
        that a record doesn't hold, go over into it. What users did who are `forgotten` by now is left out.
        """
        now = time.time_ns() // 1000
        left = iter(records)
        while chunk := list(islice(left, _PER_TRANSACTION)):
            with self._writing() as transaction, transaction.cursor() as cursor:
                pairs = []
                until_us = _until_us(forgotten)  # in the transaction: see `forget`
                for user_id, record in chunk:
                    record.loaded_at = now
                    key = _key(user_id)
                    if stored := transaction.get(key):
                        with suppress(ArtifactError):  # a damaged one is written over
                            take_over(record, _parsed(user_id, bytes(stored)), now_us=now)
                    if user_id in until_us and not forget_until(record, until_us[user_id]):
                        continue
                    pairs.append((key, record.SerializeToString()))
                cursor.putmulti(pairs, overwrite=True)
            yield len(pairs)

    def append(
        self,
        engagements: Mapping[str, Sequence[Engagement]],
        *,
        newest: int,
        forgotten: ForgottenFile | None = None,
    ) -> None:
        """Add engagements to the histories of their users, of which the `newest` so many then stay; all or none.

        Users who are not in the store come into it. Once this returns, every reader sees them. What users did who are
        `forgotten` by now is left out. Raises UnavailableError, ArtifactError, DataError.
        """
        now = time.time_ns() // 1000
        with self._writing() as transaction:
            until_us = _until_us(forgotten)  # in the transaction: see `forget`
            for user_id, given in engagements.items():
                added = [one for one in given if one.timestamp > until_us.get(user_id, -1)]
                if not added:
                    continue
                key = _key(user_id)
                stored = transaction.get(key)
                record = user_pb2.UserRecord(loaded_at=now) if stored is None else _parsed(user_id, bytes(stored))
                add_recorded(record, added, now_us=now, newest=newest)
                transaction.put(key, record.SerializeToString())

    def forget(self, user_id: str) -> user_pb2.UserRecord | None:
        """Remove a user's record; returns it, None where there was none. Raises UnavailableError.

        Whoever puts the user on the list of the forgotten first is safe from writers that have read older data: they
        look at the list in their transaction, which comes before this one, or after.
        """
        with self._writing() as transaction:
            value = transaction.pop(_key(user_id))
        if value is None:
            return None
        try:
            return _parsed(user_id, bytes(value))
        except ArtifactError:
            return user_pb2.UserRecord()

    def drop_older(self, than: int) -> int:
        """Remove users not written since `than` (µs since 1970); returns how many.

        Those with engagements that were recorded lately stay: the data may not know them yet.
        """
        now, dropped = time.time_ns() // 1000, 0
        with self._environment.begin() as transaction:
            stale = [key for key, value in transaction.cursor() if _is_stale(value, than, now)]
        for start in range(0, len(stale), _PER_TRANSACTION):
            with self._writing() as transaction:
                for key in stale[start : start + _PER_TRANSACTION]:
                    if _is_stale(transaction.get(key), than, now):  # meanwhile something may have been recorded
                        dropped += transaction.delete(key)
        return dropped

    @contextmanager
    def _writing(self) -> Iterator[lmdb.Transaction]:
        try:
            with self._environment.begin(write=True) as transaction:
                yield transaction
        except lmdb.Error as error:
            raise UnavailableError(f"the user store can't be written: {error}") from error

    def close(self) -> None:
        """Close the file, unless others in this process use it."""
        self._shared.close()


def _until_us(forgotten: ForgottenFile | None) -> Mapping[str, int]:
    return {} if forgotten is None else forgotten.current().until_us


def _parsed(user_id: str, value: bytes) -> user_pb2.UserRecord:
    try:
        return user_pb2.UserRecord.FromString(value)
    except DecodeError as error:
        raise ArtifactError(f"the user store's record of {user_id!r} is damaged; load the users again") from error


def _is_stale(value: bytes | memoryview | None, than: int, now: int) -> bool:
    if value is None:
        return False
    record = user_pb2.UserRecord.FromString(bytes(value))
    return record.loaded_at < than and not is_waited_for(record, now)


def _key(user_id: str) -> bytes:
    raw = user_id.encode("utf-8")
    return b"u" + raw if len(raw) <= _LONGEST_KEY else b"h" + hashlib.sha256(raw).digest()


class LazyUserStore:
    """A user store that may not be there yet: found when it appears, without a restart of the service."""

    def __init__(self, folder: Path, *, gib: int, retry_s: float = 2.0) -> None:
        self._folder, self._gib, self._retry_s = folder, gib, retry_s
        self._store: UserStore | None = None
        self._next = 0.0
        self._lock = threading.Lock()
        self.error = ""

    def get(self, user_id: str) -> StoredUser | None:
        """A user's history and profile; None where the user, or the whole store, is unknown."""
        store = self._open()
        return None if store is None else store.get(user_id)

    def count(self) -> int:
        """How many users the store holds; 0 without one."""
        store = self._open()
        return 0 if store is None else store.count()

    def close(self) -> None:
        """Close the store, if one was found."""
        if self._store is not None:
            self._store.close()

    def _open(self) -> UserStore | None:
        if self._store is not None or time.monotonic() < self._next:
            return self._store
        with self._lock:
            if self._store is None:
                try:
                    self._store = UserStore.open(self._folder, gib=self._gib)
                    self.error = ""
                except (NotFoundError, ArtifactError) as error:
                    if str(error) != self.error:
                        _log.warning("no user is known: %s", error)
                    self.error = str(error)
                    self._next = time.monotonic() + self._retry_s
            return self._store
