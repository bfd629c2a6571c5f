"""Segments: numbered Parquet files of recorded events in a folder of the events, each there whole or not at all.

Where few events come, many small ones would pile up: neighbours are merged, so that their number grows with the events.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from retrieval.data.event_log.layout import EVENT_ID
from retrieval.data.reading.segments import Segment, as_segment, merged_away, segment_name
from retrieval.errors import DataError
from retrieval.storage.atomic import staged_file

_TOGETHER = 32
_LISTED_S = 600.0
"""So long whoever listed segments may take to read them."""
_log = logging.getLogger(__name__)


def segment_path(folder: Path, number: int) -> Path:
    """Where the segment of a number lies in the folder of segments."""
    return folder / segment_name(number, number)


def list_segments(folder: Path) -> list[Segment]:
    """The segments that are there, without those that were merged into others, by number."""
    paths = list(folder.glob("segment-*.parquet"))
    gone = merged_away(paths)
    return sorted(one for path in paths if path not in gone and (one := as_segment(path)) is not None)


def write_segment(path: Path, table: pa.Table) -> None:
    """Write a segment, on disk under its name when this returns. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with staged_file(path) as staged:
        pq.write_table(table, staged, compression="zstd")


def segment_ids(path: Path) -> Iterator[list[str]]:
    """The event ids of a segment, a batch at a time. Raises DataError."""
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=[EVENT_ID]):
                yield batch.column(0).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: can't be read as Parquet: {error}") from error


def segments_lock(folder: Path) -> FileLock:
    """Held by whoever makes files of segments from others, so that none is made of what is being changed."""
    return FileLock(folder / ".segments.lock")


def merge_small(folder: Path, *, rows: int, together: int = _TOGETHER) -> Path | None:
    """Merge the oldest neighbours of fewer than `rows` events each, where there are so many; returns the new file.

    Raises DataError for one that can't be read, OSError.
    """
    if not folder.is_dir():
        return None
    with segments_lock(folder):
        chosen = _neighbours(list_segments(folder), rows, together)
        if not chosen:
            return None
        path = folder / segment_name(chosen[0].first, chosen[-1].last)
        try:
            with staged_file(path) as staged, pq.ParquetWriter(staged, _schema(chosen[0]), compression="zstd") as out:
                for one in chosen:
                    out.write_table(pq.read_table(one.path, partitioning=None))
        except pa.ArrowException as error:
            raise DataError(f"{folder}: segments can't be merged: {error}") from error
    _log.info("%d segments merged into %s", len(chosen), path.name)
    return path


def remove_merged(folder: Path, *, older_s: float = _LISTED_S) -> int:
    """Remove segments that were merged into others at least so many seconds ago; returns how many. Raises OSError."""
    removed = 0
    paths = list(folder.glob("segment-*.parquet"))
    gone, before = merged_away(paths), time.time() - older_s
    kept = [one for path in paths if path not in gone and (one := as_segment(path)) is not None]
    for path in gone:
        one = as_segment(path)
        if any(each.holds(one) and each.path.stat().st_mtime <= before for each in kept if one is not None):
            path.unlink()
            removed += 1
    return removed


def _neighbours(segments: list[Segment], rows: int, together: int) -> list[Segment]:
    """The first so many small segments in a row that have the same columns; none where there are none."""
    found: list[Segment] = []
    for one in segments:
        small = pq.read_metadata(one.path).num_rows < rows
        if not small or (found and not _schema(one).equals(_schema(found[0]))):
            found = []
        if small:
            found.append(one)
        if len(found) == together:
            return found
    return []


def _schema(segment: Segment) -> pa.Schema:
    return pq.read_schema(segment.path)
