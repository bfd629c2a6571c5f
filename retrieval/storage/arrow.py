"""Tables in Arrow files, written so that they can be mapped, and read by mapping them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write a table as an Arrow file; its chunks become record batches. Raises OSError."""
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)


def read_arrow(path: Path) -> pa.Table:
    """An Arrow file as a table whose columns are mapped, not copied. Raises OSError, pa.ArrowException."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()
