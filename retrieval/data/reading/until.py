"""Which files of events hold something from before a moment, told from what Parquet says of each file's times.

A file that lies behind the moment as a whole is as if it weren't there: what comes in later changes nothing of an
earlier state of the log, neither its snapshot nor the time that reading it takes. Where its times are implausible it
is read all the same, so that its rows are refused and counted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from retrieval.data.config import DataConfig
from retrieval.data.reading.schema import detect_unit, to_micros
from retrieval.data.reading.sources import list_files
from retrieval.errors import DataError
from retrieval.types import HOUR_US


@dataclass(frozen=True, slots=True)
class EventFiles:
    """The files of events that are read; `cut` where some of them may hold later events, which are left out."""

    files: tuple[Path, ...]
    cut: bool


def event_files(config: DataConfig, root: Path) -> EventFiles:
    """The files of events that the settings name, without those that hold nothing from before `data.until`.

    Raises DataError where there are none.
    """
    path = root / config.events
    files = list_files(path, "events")
    until = config.until_us
    if until is None:
        return EventFiles(files, cut=False)
    plausible = time.time_ns() // 1000 + int(config.future_hours * HOUR_US)
    spans = [(file, _span(file, config)) for file in files]
    kept = [(file, span) for file, span in spans if span is None or span[0] < until or span[1] > plausible]
    if not kept:
        raise DataError(f"{path}: holds no event before data.until = {config.until!r}; say a later moment")
    return EventFiles(tuple(file for file, _ in kept), cut=any(span is None or span[1] >= until for _, span in kept))


def _span(file: Path, config: DataConfig) -> tuple[int, int] | None:
    """Times of a file's first and last event in µs; None where the file doesn't say."""
    try:
        with pq.ParquetFile(file) as parquet:
            ends = _statistics(parquet.metadata, config.timestamp_column)
            kind = parquet.schema_arrow.field(config.timestamp_column).type if ends else None
    except (pa.ArrowException, OSError, KeyError):  # whoever reads the file says what is wrong with it
        return None
    if not ends or kind is None or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return None
    try:
        values = pa.array(ends, kind)
        unit = config.timestamp_unit if config.timestamp_unit != "auto" else detect_unit(values[-1:]) or "s"
        times = to_micros(values, "ms" if pa.types.is_date(kind) and config.timestamp_unit == "auto" else unit)
    except (pa.ArrowException, DataError):
        return None
    if times.missing is not None or times.unreadable is not None:
        return None
    return int(times.micros.min()), int(times.micros.max())


def _statistics(metadata: pq.FileMetaData, column: str) -> Sequence[object] | None:
    """The smallest and the largest value of a column, None where a row group doesn't say."""
    places = [at for at in range(metadata.num_columns) if metadata.schema.column(at).path == column]
    if not places:
        return None
    least, most = [], []
    for group in range(metadata.num_row_groups):
        if not metadata.row_group(group).num_rows:
            continue
        found = metadata.row_group(group).column(places[0]).statistics
        if found is None or not found.has_min_max:
            return None
        least.append(found.min)
        most.append(found.max)
    return [min(least), max(most)] if least else None
