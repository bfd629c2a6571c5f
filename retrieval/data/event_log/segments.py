"""Segments: numbered Parquet files of recorded events in a folder of the events, each there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from retrieval.data.event_log.layout import EVENT_ID
from retrieval.errors import DataError
from retrieval.storage.atomic import staged_file

FOLDER = "recorded"
"""Folder of the segments, in that of the events."""
_NAME = "segment-{:012d}.parquet"


def segment_path(folder: Path, number: int) -> Path:
    """Where the segment of a number lies in the folder of segments."""
    return folder / _NAME.format(number)


def segment_numbers(folder: Path) -> list[int]:
    """Numbers of the segments that are there, ascending."""
    return sorted(int(path.stem.removeprefix("segment-")) for path in folder.glob("segment-*.parquet"))


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
