"""Taking a user's rows out of files: each file is replaced as a whole by one without them, or stays as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from retrieval.arrays import Mask
from retrieval.data.reading.schema import ids_as_text, to_ids
from retrieval.errors import DataError
from retrieval.storage.atomic import staged_file, write_bytes


def remove_rows(path: Path, column: str, user_id: str) -> int:
    """Remove the rows of a user, by the ids in `column`, from a Parquet file; returns how many there were.

    A file without such rows is only read. Memory holds a row group. Raises DataError.
    """
    try:
        with pq.ParquetFile(path) as file:
            if column not in file.schema_arrow.names:
                raise DataError(f"{path}: has no column {column!r}, so the rows of a user can't be found in it")
            batches = file.iter_batches(columns=[column], batch_size=1 << 17)
            found = sum(int(_is_of(batch.column(0), user_id).sum()) for batch in batches)
            if found:
                _write_without(file, path, column, user_id)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: the rows of a user can't be taken out: {error}") from error
    return found


def remove_lines(path: Path, user_id: str, is_of: Callable[[dict[str, object], str], bool]) -> int:
    """Remove the JSON lines of a user, as `is_of` tells them, from a file; returns how many. Raises DataError."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if not _is_line_of(line, user_id, is_of)]
        if len(kept) < len(lines):
            write_bytes(path, b"".join(kept))
    except OSError as error:
        raise DataError(f"{path}: the lines of a user can't be taken out: {error}") from error
    return len(lines) - len(kept)


def count_rows(batch: pa.RecordBatch, column: str, user_id: str) -> int:
    """How many rows of a batch are of the user; 0 where it has no such column."""
    if column not in batch.schema.names:
        return 0
    return int(_is_of(batch.column(column), user_id).sum())


def _write_without(file: pq.ParquetFile, path: Path, column: str, user_id: str) -> None:
    with (
        staged_file(path) as staged,
        pq.ParquetWriter(staged, file.schema_arrow, compression="zstd") as writer,
    ):
        for number in range(file.num_row_groups):
            rows = file.read_row_group(number)
            writer.write_table(rows.filter(pa.array(~_is_of(rows[column].combine_chunks(), user_id))))


def _is_of(users: pa.Array, user_id: str) -> Mask:
    """Which ids, of any type that ids may have, are the user's: bool [n]."""
    ids = to_ids(users.combine_chunks() if isinstance(users, pa.ChunkedArray) else users, "text")
    found: Mask = pc.equal(ids_as_text(ids.values), user_id).fill_null(False).to_numpy(zero_copy_only=False)
    return found if ids.not_id is None else found & ~np.asarray(ids.not_id)


def _is_line_of(line: bytes, user_id: str, is_of: Callable[[dict[str, object], str], bool]) -> bool:
    try:
        given = json.loads(line)
    except ValueError:
        return False
    return isinstance(given, dict) and is_of(given, user_id)
