"""Attributes of the items of a shard or of the catalog, ready to be filtered on: a filter becomes a set of rows.

Attributes are stored as text, int64, float64 or bool columns, or lists of one of these (see `attribute_table`).
A missing value meets no condition.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.arrays import Mask
from retrieval.errors import DataError, RequestError
from retrieval.filters.allowed import Allowed, Bits, RecentlyAllowed, all_rows, packed
from retrieval.filters.filter import AllOf, AnyOf, Filter, Range, SomeOf, Value
from retrieval.filters.values import RowsOfValues, ValueColumn, make_rows_of_values

_CACHED_BYTES = 32 << 20
_FEW_VALUES = 8  # up to so many values of a condition have a cached set of rows each


class Attributes:
    """The filterable columns of some items. Thread-safe; what recent filters left is cached (within 32 MiB).

    A column is decoded when it is first filtered on. Raises DataError on a column of a type that can't be.
    """

    def __init__(self, columns: Mapping[str, pa.ChunkedArray], count: int) -> None:
        for column in columns.values():
            _kind(column.type)
        self._stored = dict(columns)
        self._decoded: dict[str, _Column] = {}
        self._rows_of: dict[str, RowsOfValues] = {}
        self._decoding = threading.Lock()
        self._count = count
        self._recent = RecentlyAllowed(_CACHED_BYTES)
        self._everything = all_rows(count)

    @property
    def fields(self) -> list[str]:
        """Names of the fields that can be filtered on, sorted."""
        return sorted(self._stored)

    def allowed(self, filter_: Filter) -> Allowed:
        """The rows that `filter_` selects. Raises RequestError on an unknown field or a value of the wrong type.

        Cached for the parts of a filter as for the whole, so that filters which share conditions share the work.
        """
        found = self._recent.get(filter_)
        if found is None:
            found = Allowed(self._bits(filter_), self._count)
            self._recent.put(filter_, found)
        return found

    def rows_with(self, wanted: AnyOf) -> npt.NDArray[np.uint32]:
        """The rows that have one of the values, of text or whole numbers; a row may come more than once.

        It costs what it finds: the rows of every value are in order once the field was asked for. Raises RequestError.
        """
        column = self._column(wanted.field)
        if column.kind not in {"text", "whole"}:
            raise RequestError(f"{wanted.field!r} holds {column.kind}s; items share text or whole numbers")
        values = [_coerce(column.kind, value, wanted.field) for value in wanted.values]
        if column.kind == "text":
            values = [column.words[word] for word in map(str, values) if word in column.words]
        with self._decoding:
            found = self._rows_of.get(wanted.field)
            if found is None:
                found = make_rows_of_values(column.values, column.valid, column.rows)
                self._rows_of[wanted.field] = found
        return found.of(values)

    def values(self, name: str, rows: npt.NDArray[np.uint32]) -> ValueColumn:
        """What some rows have of a field; its name must be one of `fields`."""
        stored = self._stored[name]
        return ValueColumn.of(stored.take(pa.array(rows)), several=bool(pa.types.is_list(stored.type)))

    def _bits(self, filter_: Filter) -> Bits:
        if isinstance(filter_, AnyOf):
            return self._any_of(filter_)
        if isinstance(filter_, Range):
            column = self._column(filter_.field)
            return self._packed(column, _in_range(column, filter_))
        if isinstance(filter_, AllOf):
            return self._joined(filter_.filters, np.bitwise_and, self._everything.copy())
        some = self._joined(filter_.filters, np.bitwise_or, np.zeros_like(self._everything))
        return some if isinstance(filter_, SomeOf) else some ^ self._everything

    def _joined(self, filters: Sequence[Filter], join: np.ufunc, bits: Bits) -> Bits:
        for part in filters:
            join(bits, self.allowed(part).bits, out=bits)
        return bits

    def _any_of(self, filter_: AnyOf) -> Bits:
        column = self._column(filter_.field)
        if 1 < len(filter_.values) <= _FEW_VALUES:
            each = [AnyOf(filter_.field, (value,)) for value in filter_.values]
            return self._joined(each, np.bitwise_or, np.zeros_like(self._everything))
        return self._packed(column, _any_of(column, filter_))

    def _packed(self, column: _Column, hit: Mask) -> Bits:
        """The rows of the values that were hit, which for a list column may be several of one row."""
        if column.rows is None:
            return packed(hit)
        mask = np.zeros(self._count, dtype=np.bool_)
        mask[column.rows[hit]] = True
        return packed(mask)

    def _column(self, name: str) -> _Column:
        if name not in self._stored:
            known = ", ".join(self.fields) or "none, this index was built without attributes"
            raise RequestError(f"filter on unknown field {name!r}; fields that can be filtered on: {known}")
        with self._decoding:
            if name not in self._decoded:
                self._decoded[name] = _read_column(self._stored[name])
            return self._decoded[name]


@dataclass(frozen=True, slots=True)
class _Column:
    """`values` holds codes into `words` (text; -1 = missing) or the numbers themselves; `rows` is set for lists."""

    kind: str
    values: npt.NDArray[np.generic]
    valid: Mask | None
    words: Mapping[str, int]
    rows: npt.NDArray[np.int32] | None


_KINDS: dict[str, Callable[[pa.DataType], bool]] = {
    "text": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t),
    "whole": pa.types.is_int64,
    "real": pa.types.is_float64,
    "flag": pa.types.is_boolean,
}


def _kind(stored: pa.DataType) -> str:
    single = stored.value_type if pa.types.is_list(stored) else stored
    kind = next((name for name, fits in _KINDS.items() if fits(single)), None)
    if kind is None:
        raise DataError(f"an attribute column of type {stored} can't be filtered on")
    return kind


def _read_column(column: pa.ChunkedArray) -> _Column:
    # One chunk stays where it is mapped: combine_chunks() would copy it
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    rows = None
    if pa.types.is_list(array.type):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        rows = np.repeat(np.arange(len(array), dtype=np.int32), lengths)
        array = array.flatten()
    kind = _kind(column.type)
    valid = None if array.null_count == 0 else array.is_valid().to_numpy(zero_copy_only=False)
    if kind == "text":
        codes, words = _codes(array)
        return _Column(kind, codes, valid, words, rows)
    # Numbers without a gap stay where they are mapped
    filled = array if valid is None else array.fill_null(False if kind == "flag" else 0)
    return _Column(kind, filled.to_numpy(zero_copy_only=False), valid, {}, rows)


def _codes(texts: pa.StringArray) -> tuple[npt.NDArray[np.signedinteger], dict[str, int]]:
    """Codes into the distinct texts, -1 for none, in as few bytes as hold them: every process has its own."""
    pool = pa.system_memory_pool()  # which gives back what it had for a moment; Arrow's own keeps it
    encoded = pc.dictionary_encode(texts, memory_pool=pool)
    words = {word: code for code, word in enumerate(encoded.dictionary.to_pylist())}
    codes = encoded.indices if texts.null_count == 0 else pc.fill_null(encoded.indices, -1)
    return codes.to_numpy(zero_copy_only=False).astype(np.min_scalar_type(-max(1, len(words)))), words


def _any_of(column: _Column, filter_: AnyOf) -> Mask:
    values = [_coerce(column.kind, value, filter_.field) for value in filter_.values]
    if column.kind == "text":
        if len(values) == 1:
            return np.asarray(column.values == column.words.get(str(values[0]), -2))
        table = np.zeros(len(column.words) + 1, dtype=np.bool_)  # the last entry answers for code -1, missing
        table[[code for value in values if (code := column.words.get(str(value))) is not None]] = True
        return np.asarray(table[column.values])
    wanted_values = np.array(values, dtype=column.values.dtype)
    if len(values) == 1:
        return _known(column, column.values == wanted_values[0])
    return _known(column, np.isin(column.values, wanted_values))


def _in_range(column: _Column, filter_: Range) -> Mask:
    if column.kind not in {"whole", "real"}:
        raise RequestError(f"filter on {filter_.field!r}: a range needs a numeric field, this one holds {column.kind}s")
    if filter_.minimum is None and filter_.maximum is None:
        raise RequestError(f"filter on {filter_.field!r}: a range needs a minimum, a maximum or both")
    mask = np.ones(column.values.shape, dtype=np.bool_)
    for bound, compare in ((filter_.minimum, np.greater_equal), (filter_.maximum, np.less_equal)):
        if bound is None:
            continue
        if isinstance(bound, bool) or not isinstance(bound, (int, float)) or bound != bound:  # noqa: PLR0124 - NaN
            raise RequestError(f"filter on {filter_.field!r}: {bound!r} is not a number")
        mask &= compare(column.values, bound)
    return _known(column, mask)


def _known(column: _Column, mask: Mask) -> Mask:
    return mask if column.valid is None else mask & column.valid


def _coerce(kind: str, value: Value, field: str) -> Value:
    """The value as the column holds it; numbers may come as text, as they do on a command line."""
    try:
        if kind == "text" and isinstance(value, str):
            return value
        if kind == "flag" and (isinstance(value, bool) or value in {"true", "false"}):
            return value is True or value == "true"
        if kind == "whole" and not isinstance(value, bool) and float(value) == int(value):
            return _int64(int(value))
        if kind == "real" and not isinstance(value, bool):
            return float(value)
    except (ValueError, TypeError, OverflowError):
        pass
    raise RequestError(f"filter on {field!r}: {value!r} is not {_EXPECTED[kind]}, which this field holds")


_EXPECTED = {"text": "text", "whole": "a whole number (64 bit)", "real": "a number", "flag": "true or false"}


def _int64(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise OverflowError
    return value


def attribute_table(
    items: pa.Table, names: Sequence[str] | None, *, hidden: Collection[str] = (), setting: str = "index.attributes"
) -> pa.Table:
    """The columns of `items` to filter on, in the types that shards store.

    `names` None takes every column of a suitable type, but for the item id, `hidden` ones and lists of real numbers,
    which are vectors. `setting` is where the names come from, said in errors. Raises DataError on a named column that
    is absent or unsuitable.
    """
    if names is None:
        skipped = {"item_id", *hidden}
        found = {name: _storable(items[name]) for name in items.column_names if name not in skipped}
        made = {name: column for name, column in found.items() if column is not None and not _is_vector(column.type)}
        return pa.table(made)
    columns: dict[str, pa.ChunkedArray] = {}
    for name in names:
        if name not in items.column_names:
            have = ", ".join(items.column_names)
            raise DataError(f"{setting} names {name!r}, the items have no such column; they have: {have}")
        column = _storable(items[name])
        if column is None:
            raise DataError(f"{setting} names {name!r}, whose type {items[name].type} can't be filtered on")
        columns[name] = column
    return pa.table(columns)


def _is_vector(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) and pa.types.is_floating(kind.value_type))


def _storable(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        target = _stored_type(kind.value_type)
        return None if target is None else _cast(column, pa.list_(target))
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    target = _stored_type(kind)
    return None if target is None else _cast(column, target)


def _cast(column: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray | None:
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        column = column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False)
    try:
        return column.cast(target)
    except pa.ArrowInvalid:  # unsigned numbers beyond int64
        return None


def _stored_type(kind: pa.DataType) -> pa.DataType | None:
    types = pa.types
    if types.is_string(kind) or types.is_large_string(kind):
        return pa.string()
    if types.is_integer(kind) or types.is_timestamp(kind) or types.is_date(kind):
        return pa.int64()
    if types.is_floating(kind) or types.is_decimal(kind):
        return pa.float64()
    return pa.bool_() if types.is_boolean(kind) else None
