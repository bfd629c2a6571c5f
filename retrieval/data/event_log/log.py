"""The event log as one process writes it: journals in, segments out, each event once.

What is on disk at any moment: segments 1 … n, whole; journals of later numbers, each to become the segment of its
number; the ids of segments. A journal goes only once its segment and the ids are on disk, so that a process may be
killed anywhere: the next one finds a segment whose ids are missing, or a journal whose segment is there, and goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from retrieval.arrays import Mask
from retrieval.data.config import DataConfig
from retrieval.data.event_log.config import EventsConfig
from retrieval.data.event_log.event import Event, Rejected
from retrieval.data.event_log.journal import Journal, read_batches
from retrieval.data.event_log.known_ids import KnownIds, id_hash
from retrieval.data.event_log.layout import EVENT_ID, open_layout
from retrieval.data.event_log.rejects import REJECTS, write_rejects
from retrieval.data.event_log.rows import Outcome
from retrieval.data.event_log.segments import (
    list_segments,
    merge_small,
    remove_merged,
    segment_ids,
    segment_path,
    write_segment,
)
from retrieval.data.reading.forgotten import ForgottenFile, forgotten_file
from retrieval.data.reading.segments import RECORDED
from retrieval.errors import RetrievalError, UnavailableError
from retrieval.storage.locks import locked

STATE = "event-log"
"""Folder beside the events with journals and the ids of recorded events."""
_LOOK_S = 0.25
_MOST_CLOSING = 4
_ROOM_S = 10.0
"""So long do events wait for segments that are being written; not where writing goes wrong."""
_log = logging.getLogger(__name__)


@dataclass
class _Part:
    """A segment in the making: its journal, and the hashes of the ids in it."""

    number: int
    journal: Journal
    since: float = field(default_factory=time.monotonic)
    hashes: set[bytes] = field(default_factory=set)


class EventLog:
    """The log of a workspace's events, open to be written. Thread-safe; one process has it at a time."""

    def __init__(self, config: EventsConfig, data: DataConfig, root: Path) -> None:
        """Open the log, made where there is none, and finish what a process before left.

        Raises ConflictError where another process has it; ConfigError, DataError, ArtifactError, UnavailableError.
        """
        self._config = config
        self._layout = open_layout(data, root)
        events = root / data.events
        self._state, self._segments = events.parent / STATE, events / RECORDED
        self._rejects = events.parent / REJECTS
        self._forgotten = ForgottenFile(forgotten_file(data, root))
        self._forgotten_before = self._forgotten.current()
        self._lock, self._closing_lock = threading.Lock(), threading.Lock()
        self._room = threading.Condition(self._lock)
        self._closing: list[_Part] = []
        self._trouble = ""
        self._ended, self._due = threading.Event(), threading.Event()
        with ExitStack() as opened:
            self._state.mkdir(parents=True, exist_ok=True)
            opened.enter_context(locked(self._state / ".lock", f"events are being recorded in {self._state}"))
            self._ids = KnownIds(self._state / "ids", kept_s=3600 * config.deduplicate_hours)
            opened.callback(self._ids.close)
            self._open = self._recovered()
            self._held = opened.pop_all()
        self._thread = threading.Thread(target=self._run, name="segments", daemon=True)
        self._thread.start()

    def append(self, events: Sequence[Event]) -> Outcome:
        """Record events: those that can be used and weren't recorded before are on disk when this returns.

        Those that can't be used are in the rejects file. Raises UnavailableError; no event is recorded then.
        """
        rows, rejected, ignored = self._layout.rows_of(events, self._forgotten.current())
        hashes = [id_hash(one) for one in rows.batch.column(EVENT_ID).to_pylist()]
        with self._lock:
            self._room.wait_for(lambda: self._trouble or len(self._closing) < _MOST_CLOSING, _ROOM_S)
            if len(self._closing) >= _MOST_CLOSING:
                why = self._trouble or f"{len(self._closing)} of them wait to be written"
                raise UnavailableError(f"no event is taken until segments can be written again: {why}")
            new = self._unknown(hashes)
            if new.any():
                self._open.journal.append(rows.batch.filter(pa.array(new)))
                self._open.hashes.update(hashes[row] for row in np.flatnonzero(new))
            if len(self._open.hashes) >= self._config.segment_events:
                self._turn_over()
        self._put_aside(events, rejected)
        return Outcome(rows, new, tuple(rejected), tuple(sorted(ignored)))

    def flush(self) -> None:
        """Make a segment of what was recorded so far. Raises UnavailableError."""
        with self._lock:
            if self._open.hashes:
                self._turn_over()
        self._close_parts()

    def close(self) -> None:
        """Make a segment of what is there, and let go of the log. What can't be written now stays in its journal."""
        self._ended.set()
        self._due.set()
        self._thread.join()
        try:
            self.flush()
        except RetrievalError as error:
            _log.warning("the last events stay in the journal: %s", error)
        self._open.journal.close()
        if not self._open.hashes:
            self._open.journal.path.unlink(missing_ok=True)
        self._held.close()

    # -- which events are new

    def _unknown(self, hashes: Sequence[bytes]) -> Mask:
        """Which ids weren't recorded before, of several that are the same the first: bool [n]."""
        seen = self._ids.known(hashes)
        parts = [self._open, *self._closing]
        new = np.zeros(len(hashes), np.bool_)
        for row, one in enumerate(hashes):
            new[row] = one not in seen and not any(one in part.hashes for part in parts)
            seen.add(one)
        return new

    # -- from journals to segments

    def _turn_over(self) -> None:
        """Begin the next journal; what was open is to become a segment. Holding the lock."""
        following = self._part(self._open.number + 1)
        self._closing.append(self._open)
        self._open = following
        self._due.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._due.wait(_LOOK_S)
            self._due.clear()
            try:
                with self._lock:
                    if self._is_due() and self._open.hashes:
                        self._turn_over()
                self._close_parts()
                self._trouble = ""
            except Exception as error:  # noqa: BLE001 - whatever it was, it is tried again
                if str(error) != self._trouble:
                    _log.exception("a segment can't be written; trying again")
                with self._room:
                    self._trouble = str(error)
                    self._room.notify_all()
                self._ended.wait(1.0)

    def _is_due(self) -> bool:
        """Whether what is open is old, or may hold what a user did who is to be forgotten since."""
        before, self._forgotten_before = self._forgotten_before, self._forgotten.current()
        return before != self._forgotten_before or time.monotonic() - self._open.since >= self._config.segment_s

    def _close_parts(self) -> None:
        with self._closing_lock:
            while self._closing:
                part = self._closing[0]
                self._make_segment(part)
                with self._room:
                    self._closing.pop(0)
                    self._room.notify_all()
                self._tidy()

    def _tidy(self) -> None:
        """Keep the number of small segments bounded. What goes wrong costs nothing but files, and is said."""
        try:
            merge_small(self._segments, rows=(self._config.segment_events + 1) // 2)
            remove_merged(self._segments)
        except (OSError, RetrievalError) as error:
            _log.warning("small segments stay as they are: %s", error)

    def _make_segment(self, part: _Part) -> None:
        path = segment_path(self._segments, part.number)
        part.journal.close()
        try:
            batches = list(read_batches(part.journal.path))
            if batches:
                table = self._layout.remembered(pa.Table.from_batches(batches), self._forgotten.current())
                if table.num_rows:
                    write_segment(path, table)
                self._ids.add(part.hashes, part.number)
            part.journal.path.unlink()
        except OSError as error:
            raise UnavailableError(f"{path}: can't be written: {error}") from error
        _log.info("segment %s: %d events", path.name, sum(batch.num_rows for batch in batches))

    # -- what a process before left

    def _recovered(self) -> _Part:
        """Ids and segments as they would be had no process been killed; the part to go on with."""
        there = list_segments(self._segments)
        for segment in there:
            if segment.last > self._ids.indexed():
                for ids in segment_ids(segment.path):
                    self._ids.add(map(id_hash, ids), 0)
                self._ids.add((), segment.last)
        newest = max([self._ids.indexed(), *(segment.last for segment in there)])
        waiting = []
        for path in sorted(self._state.glob("*.journal")):
            number = int(path.stem)
            if number <= newest:
                path.unlink()  # its segment is there, as a whole
            else:
                waiting.append(number)
        parts = [self._part(number) for number in waiting or [newest + 1]]
        if not self._goes_on(parts[-1]):
            parts.append(self._part(parts[-1].number + 1))
        for part in parts[:-1]:
            self._make_segment(part)
        return parts[-1]

    def _goes_on(self, part: _Part) -> bool:
        """Whether a journal has the columns that events have now: settings may have changed since."""
        first = next(read_batches(part.journal.path), None)
        return first is None or first.schema.equals(self._layout.schema)

    def _part(self, number: int) -> _Part:
        """The part of a number, with what its journal holds."""
        part = _Part(number, Journal(self._state / f"{number:012d}.journal"))
        for batch in read_batches(part.journal.path):
            part.hashes.update(map(id_hash, batch.column(EVENT_ID).to_pylist()))
        return part

    def _put_aside(self, events: Sequence[Event], rejected: Sequence[Rejected]) -> None:
        try:
            write_rejects(self._rejects, events, rejected, limit_bytes=self._config.rejects_mib << 20)
        except OSError as error:
            _log.warning("%d rejected events could not be kept in %s: %s", len(rejected), self._rejects, error)
