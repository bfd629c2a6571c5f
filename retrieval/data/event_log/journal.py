"""The write-ahead file of a segment: batches of events, each flushed to disk before it is acknowledged.

A record is its length, the CRC-32 of its content and that of these two (uint32 each, little-endian), then an Arrow
stream of one batch. A process that is killed leaves at most one record that is not whole, at the end: nobody was told
that it was written, and it is cut off.
"""

from __future__ import annotations

import logging
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from retrieval.errors import ArtifactError, UnavailableError
from retrieval.storage.atomic import flush

_HEAD, _CHECKED = struct.Struct("<III"), struct.Struct("<II")
_log = logging.getLogger(__name__)


class Journal:
    """One journal, open to be appended to. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open the journal at `path`, made where there is none; what is not whole at its end is cut off.

        Raises ArtifactError where it is damaged, UnavailableError where it can't be written.
        """
        self.path = path
        new = not path.exists()
        try:
            self._size = 0 if new else whole_bytes(path)
            self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
            if not new and path.stat().st_size > self._size:
                _log.warning("%s: %d bytes of an unfinished record cut off", path, path.stat().st_size - self._size)
                self._cut()
            if new:
                flush(path.parent)
        except OSError as error:
            raise UnavailableError(f"{path}: can't be written: {error}") from error
        self._broken = ""

    def append(self, batch: pa.RecordBatch) -> None:
        """Write a batch and wait until it is on disk. Raises UnavailableError; nothing of the batch is there then."""
        if self._broken:
            raise UnavailableError(f"{self.path}: {self._broken}; no event is taken until the service is started again")
        record = _record(batch)
        try:
            written = 0
            while written < len(record):
                written += os.write(self._file, record[written:])
            os.fdatasync(self._file)
        except OSError as error:
            self._undo(error)
            raise UnavailableError(f"{self.path}: can't be written: {error}") from error
        self._size += len(record)

    def close(self) -> None:
        """Close the file; again does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _undo(self, error: OSError) -> None:
        """After a failed flush nobody knows what is on disk: only a journal that could be cut back is used on."""
        try:
            self._cut()
        except OSError:
            self._broken = f"could neither be written nor cut back: {error}"

    def _cut(self) -> None:
        os.ftruncate(self._file, self._size)
        os.fsync(self._file)


def read_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The batches of a journal, up to an unfinished record at its end. Raises ArtifactError, OSError."""
    for _, content in _records(path):
        with pa.ipc.open_stream(content) as stream:
            yield from stream


def whole_bytes(path: Path) -> int:
    """How much of a journal is whole records. Raises ArtifactError where one is damaged, OSError."""
    end = 0
    for end, _ in _records(path):  # noqa: B007 - the last one counts
        pass
    return end


def _record(batch: pa.RecordBatch) -> memoryview:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    content = sink.getvalue().to_pybytes()
    checked = len(content), zlib.crc32(content)
    return memoryview(_HEAD.pack(*checked, zlib.crc32(_CHECKED.pack(*checked))) + content)


def _records(path: Path) -> Iterator[tuple[int, bytes]]:
    """Whole records: where each ends, and its content."""
    size, end = path.stat().st_size, 0
    with path.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            length, expected, of_head = _HEAD.unpack(head)
            if zlib.crc32(_CHECKED.pack(length, expected)) != of_head:
                if _only_zeros(head, file):  # as a power cut may leave
                    return
                raise _damaged(path, end, size)
            if end + _HEAD.size + length > size:
                return
            content = file.read(length)
            if zlib.crc32(content) != expected:
                raise _damaged(path, end, size)
            end += _HEAD.size + length
            yield end, content


def _only_zeros(head: bytes, file: BinaryIO) -> bool:
    if any(head):
        return False
    return not any(any(block) for block in iter(lambda: file.read(1 << 20), b""))


def _damaged(path: Path, start: int, size: int) -> ArtifactError:
    return ArtifactError(
        f"{path}: the record at byte {start:,} of {size:,} is damaged; put the file back from a copy, or "
        "elsewhere to go on without its events"
    )
