"""Tables of users and items: one row an id, aligned with all ids that are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.data.reading.schema import MAX_ID_BYTES, IdKind, ids_as_text, to_ids
from retrieval.data.reading.sources import read_table
from retrieval.errors import DataError


@dataclass(frozen=True)
class Profiles:
    """A users or items table as read: `ids` of its usable rows, these rows, and how many others, by reason."""

    id_column: str
    ids: pa.Array
    table: pa.Table
    rejected: dict[str, int]


def read_profiles(path: Path, what: str, id_column: str, kind: IdKind) -> Profiles:
    """Read a users or items table. Of several rows with one id the last counts. Raises DataError."""
    return check_profiles(read_table(path, what, required=[id_column]), path, what, id_column, kind)


def check_profiles(table: pa.Table, path: Path, what: str, id_column: str, kind: IdKind) -> Profiles:
    """The usable rows of a users or items table that came from `path`, the last one for each id."""
    table = table.combine_chunks()
    column = table.column(id_column)
    raw = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(raw, pa.ChunkedArray):
        raw = raw.chunk(0) if raw.num_chunks else pa.array([], column.type)
    ids = to_ids(raw, kind)
    text = ids_as_text(ids.values)
    try:
        text.validate(full=True)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: column {id_column!r}: {error}") from error
    empty = pc.or_kleene(pc.is_null(text), pc.equal(pc.utf8_trim_whitespace(text), "")).to_numpy(zero_copy_only=False)
    long = pc.greater(pc.binary_length(text), MAX_ID_BYTES).fill_null(False).to_numpy(zero_copy_only=False)
    not_id = np.zeros(len(text), np.bool_) if ids.not_id is None else ids.not_id
    usable = np.flatnonzero(~(empty | long | not_id))
    last = _last_of_each(text.take(pa.array(usable)))
    last_rows = usable[last]
    rejected = {
        f"{what}: id is empty": int(empty.sum()),
        f"{what}: id is not an id": int((not_id & ~empty).sum()),
        f"{what}: id is longer than {MAX_ID_BYTES} bytes": int(long.sum()),
        f"{what}: a later row has the same id": len(usable) - len(last_rows),
    }
    taken = pa.array(last_rows)
    return Profiles(
        id_column, ids.values.take(taken), table.take(taken), {reason: n for reason, n in rejected.items() if n}
    )


def align(profiles: Profiles | None, known: pa.Array, id_column: str) -> pa.Table:
    """A table with one row for each id of `known` (large_string), in its order; ids without a row get nulls.

    Its first column is the id as text; the others are the table's own.
    """
    if profiles is None:
        return pa.table({id_column: known})
    rows = pc.index_in(known, ids_as_text(profiles.ids))
    others = [name for name in profiles.table.column_names if name != id_column]
    columns = {id_column: known}
    for name in others:
        columns[name] = profiles.table.column(name).take(rows)
    return pa.table(columns)


def _last_of_each(ids: pa.Array) -> npt.NDArray[np.int64]:
    """Positions of the last occurrence of every distinct id, in order."""
    if len(ids) == 0:
        return np.zeros(0, np.int64)
    backwards = ids.take(pa.array(np.arange(len(ids) - 1, -1, -1)))
    codes = backwards.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    _, first = np.unique(codes, return_index=True)
    return np.sort(len(ids) - 1 - first)
