"""Tables of other libraries, read over the Arrow C stream protocol without a copy of the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import pyarrow as pa

from retrieval.data.reading.sources import without_views
from retrieval.errors import DataError

_PANDAS_INDEX = "__index_level_"


@runtime_checkable
class ArrowStream(Protocol):
    """A table of any library: pandas and polars data frames, DuckDB relations, Arrow tables and readers."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """A PyCapsule with an ArrowArrayStream."""
        ...


def arrow_reader(data: ArrowStream, name: Path) -> pa.RecordBatchReader:
    """The batches of a table of any library; messages call it `name`. Raises DataError for what is no table."""
    if isinstance(data, pa.RecordBatchReader):
        return data
    try:
        # a table's own reader makes no copy; a single batch speaks another protocol
        given = pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else data
        return given.to_reader() if isinstance(given, pa.Table) else pa.RecordBatchReader.from_stream(given)
    except (TypeError, pa.ArrowException) as error:
        raise DataError(
            f"{name}: {type(data).__name__} can't be read as Arrow ({error}); expected a data frame of pandas or "
            "polars, a DuckDB relation, an Arrow table or a reader of record batches"
        ) from error


def arrow_table(data: ArrowStream, what: str) -> pa.Table:
    """A whole table of users or items (`what`), without the index that pandas adds."""
    table = arrow_reader(data, Path(what)).read_all()
    columns = {
        name: pa.chunked_array([without_views(chunk) for chunk in column.chunks]) if column.num_chunks else column
        for name, column in zip(table.column_names, table.columns, strict=True)
        if not name.startswith(_PANDAS_INDEX)
    }
    return pa.table(columns)
