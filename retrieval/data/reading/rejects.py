"""The rejects dataset: rows that can't be used, each with a reason and the place it came from."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from retrieval.storage.atomic import staged_file

_SHOWN_CHARACTERS = 1024

REJECTS_SCHEMA = pa.schema(
    [
        ("reason", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("user", pa.string()),
        ("item", pa.string()),
        ("timestamp", pa.string()),
    ]
)


class RejectsWriter:
    """Writes refused rows to one Parquet file, under its final name only once it is complete."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._open = ExitStack()
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> RejectsWriter:
        return self

    def write(self, rejects: pa.RecordBatch | None) -> None:
        """Add rows; None adds nothing."""
        if rejects is None or self._path is None:
            return
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            staged = self._open.enter_context(staged_file(self._path))
            self._writer = self._open.enter_context(pq.ParquetWriter(staged, rejects.schema, compression="zstd"))
        self._writer.write_batch(rejects)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)
        if kind is None and self._writer is None and self._path is not None:
            self._path.unlink(missing_ok=True)  # left by an earlier run over other data


def as_shown(values: pa.Array) -> pa.Array:
    """Values of any type as text of at most 1,024 characters, for a person to look at."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    try:
        text = values.cast(pa.string())
        text.validate(full=True)
        return pc.utf8_slice_codeunits(text, 0, _SHOWN_CHARACTERS)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raw = values.cast(pa.large_binary()).to_pylist() if _binary_like(values.type) else values.to_pylist()
        shown = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in raw]
        return pa.array([None if value is None else str(value)[:_SHOWN_CHARACTERS] for value in shown], pa.string())


def _binary_like(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
