"""Parquet datasets as streams of batches: one file, or a folder of them, Hive-style `key=value` folders included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from retrieval.data.reading.schema import is_text
from retrieval.data.reading.segments import merged_away
from retrieval.errors import DataError


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one file, in the file's order; `first_row` is the position of the first of them in it.

    Where some rows in between were refused before, `numbers` [rows] holds the position of each.
    """

    file: str
    first_row: int
    columns: dict[str, pa.Array]
    rows: int
    numbers: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Source:
    """The files of a dataset, in the order in which they are read, with the types of the columns that are wanted."""

    path: Path
    files: tuple[Path, ...]
    types: dict[str, pa.DataType]
    rows: int

    def batches(self, rows: int) -> Iterator[Batch]:
        """Stream the dataset in batches of at most `rows` rows, one file after another."""
        for file in self.files:
            yield from _read(file, self.label(file), list(self.types), _partition_keys(self.path, file), rows)

    def label(self, file: Path) -> str:
        """A file's name as shown to people: relative to the dataset's folder."""
        return file.name if file == self.path else file.relative_to(self.path).as_posix()


def list_files(path: Path, what: str) -> tuple[Path, ...]:
    """Parquet files of a dataset, sorted by path, without segments that were merged into others.

    Raises DataError where there are none.
    """
    if path.is_file():
        return (path,)
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder; expected the {what} as a Parquet file or a folder of them")
    found = [
        p
        for p in path.rglob("*")
        if p.suffix in {".parquet", ".pq"}
        and p.is_file()
        and not any(part[0] in "._" for part in p.relative_to(path).parts)
    ]
    files = tuple(sorted(set(found) - merged_away(found)))
    if not files:
        raise DataError(f"{path}: holds no .parquet files; expected the {what}")
    return files


def open_source(
    path: Path,
    what: str,
    *,
    required: Sequence[str],
    optional: Sequence[str] = (),
    files: Sequence[Path] | None = None,
) -> Source:
    """Open a dataset and check that every file has the required columns; of a folder only `files`, where given.

    Raises DataError that names the file, the column, and the columns that are there.
    """
    files = list_files(path, what) if files is None else tuple(files)
    types: dict[str, pa.DataType] = {}
    rows = 0
    for file in files:
        with _open(file) as parquet:
            schema, count = parquet.schema_arrow, parquet.metadata.num_rows
        keys = _partition_keys(path, file)
        there = [*schema.names, *(key for key in keys if key not in schema.names)]
        for name in required:
            if name not in there:
                raise DataError(f"{file}: no column {name!r} ({what}); its columns are: {', '.join(there) or 'none'}")
        for name in (*required, *(name for name in optional if name in there)):
            kind = schema.field(name).type if name in schema.names else pa.string()
            if name not in types or is_text(kind):  # integers in one file, text in another: text holds both
                types[name] = kind
        rows += count
    return Source(path, files, types, rows)


def schema_of(path: Path, what: str) -> pa.Schema:
    """Columns and their types as the first file of a dataset has them. Raises DataError."""
    with _open(list_files(path, what)[0]) as parquet:
        schema: pa.Schema = parquet.schema_arrow
    return schema


def read_table(path: Path, what: str, *, required: Sequence[str]) -> pa.Table:
    """A whole dataset with all its columns, for tables that grow with users or items, never with events."""
    files = list_files(path, what)
    open_source(path, what, required=required)
    tables = []
    for file in files:
        try:
            tables.append(pq.read_table(file, partitioning=None))
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{file}: can't be read as Parquet: {error}") from error
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"{path}: its files have columns of different types: {error}") from error


def _open(file: Path) -> pq.ParquetFile:
    try:
        # buffered reading keeps a row group of any size out of memory
        return pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
    except (pa.ArrowException, OSError) as error:
        size = file.stat().st_size if file.exists() else 0
        hint = "the file is empty" if size == 0 else str(error)
        raise DataError(f"{file}: can't be read as Parquet: {hint}") from error


def _read(file: Path, label: str, names: list[str], keys: dict[str, str], rows: int) -> Iterator[Batch]:
    first = 0
    with _open(file) as parquet:
        stored = [name for name in names if name in parquet.schema_arrow.names]
        try:
            for batch in parquet.iter_batches(batch_size=rows, columns=stored, use_threads=True):
                count = batch.num_rows
                columns = {name: without_views(batch.column(name)) for name in stored}
                for name in names:
                    if name not in columns:
                        columns[name] = pa.repeat(keys.get(name), count).cast(pa.string())
                yield Batch(label, first, columns, count)
                first += count
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{file}: damaged after row {first}: {error}") from error


def without_views(column: pa.Array) -> pa.Array:
    """Text in the newer view layout, for which Arrow lacks most functions, in the usual one."""
    if pa.types.is_dictionary(column.type):
        return pa.DictionaryArray.from_arrays(column.indices, without_views(column.dictionary))
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        viewed = pa.types.is_string_view(column.type.value_type)
        return column.cast(pa.large_list(pa.large_string())) if viewed else column
    return column.cast(pa.large_string()) if pa.types.is_string_view(column.type) else column


def _partition_keys(root: Path, file: Path) -> dict[str, str]:
    if file == root:
        return {}
    pairs = (part.partition("=") for part in file.relative_to(root).parts[:-1])
    return {key: value for key, separator, value in pairs if separator}
