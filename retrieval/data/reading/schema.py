"""What the columns may hold, and how they become the canonical form: ids, and µs since the epoch in UTC."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.arrays import Ints, Mask
from retrieval.data.config import parse_moment
from retrieval.errors import DataError

IdKind = Literal["int", "text"]
ContextKind = Literal["codes", "int", "float"]

MAX_ID_BYTES = 1024
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
# A number above the bound can't be a moment since 1973 and before 5138 in the coarser unit.
_UNIT_BOUNDS = ((1e11, "s"), (1e14, "ms"), (1e17, "us"))
_INT64_MAX = np.iinfo(np.int64).max


def plain(array: pa.Array) -> pa.Array:
    """The array with its dictionary encoding, if any, undone."""
    return array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: pa.DataType) -> bool:
    """Whether the type is text in any of Arrow's layouts, dictionary-encoded or not."""
    kind = _value_type(kind)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def id_kind(kinds: Iterable[tuple[str, pa.DataType]]) -> IdKind:
    """How the ids of several columns, given as (place, type), are kept together: integers if all are, text otherwise.

    Floating-point columns count as integers (a column of integers with gaps is often stored so). Raises DataError.
    """
    found: set[IdKind] = set()
    for place, given in kinds:
        kind = _value_type(given)
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            found.add("text" if kind == pa.uint64() else "int")
        elif is_text(kind) or pa.types.is_null(kind):
            found.add("text")
        else:
            raise DataError(f"{place}: of type {given}; ids must be integers or text")
    return "int" if found == {"int"} else "text"


def context_kind(place: str, given: pa.DataType) -> ContextKind:
    """How a context column is kept. Raises DataError for types that can't be one."""
    kind = _value_type(given)
    if is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind) or pa.types.is_dictionary(given):
        return "codes"
    if pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        return "int"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "float"
    raise DataError(f"{place}: of type {given}; a context column must be text, a number, a boolean or a time")


@dataclass(frozen=True, slots=True)
class Ids:
    """Ids of one column: values (int64 or large_string, null where there is none) and which of them can't be used."""

    values: pa.Array
    not_id: Mask | None


def to_ids(array: pa.Array, kind: IdKind) -> Ids:
    """Raw ids in their canonical type. Fractions, infinities, text for integers are no ids; NaN is a null."""
    array = plain(array)
    bad: Mask | None = None
    if pa.types.is_floating(array.type):
        values = array.to_numpy(zero_copy_only=False).astype(np.float64)
        empty = np.isnan(values)
        whole = np.nan_to_num(np.trunc(values), nan=0.0, posinf=0.0, neginf=0.0)
        bad = ~empty & ((values != whole) | (np.abs(values) > 2.0**53))
        array = pa.array(np.where(empty | bad, 0, whole).astype(np.int64), mask=empty)
        bad = bad if bad.any() else None
    if kind == "int" and is_text(array.type):
        number = pc.match_substring_regex(array, r"^-?[0-9]{1,18}$")
        refused = pc.and_kleene(pc.invert(number), pc.not_equal(pc.utf8_trim_whitespace(array), "")).fill_null(False)
        array = pc.if_else(number, array, None)
        bad = refused.to_numpy(zero_copy_only=False) if pc.any(refused).as_py() else None
    target = pa.int64() if kind == "int" else pa.large_string()
    if array.type != target:
        array = array.cast(target)
    return Ids(array, bad)


def ids_as_text(values: pa.Array) -> pa.Array:
    """Canonical ids as text, integers in decimal; the form in which they leave this room."""
    return values if values.type == pa.large_string() else values.cast(pa.large_string())


@dataclass(frozen=True, slots=True)
class Times:
    """Timestamps in µs (0 where there is none), which are missing, and which can't be read as a time."""

    micros: Ints
    missing: Mask | None
    unreadable: Mask | None


def to_micros(array: pa.Array, unit: str) -> Times:
    """Timestamps of any accepted type in µs since the epoch, UTC; times without a zone are taken as UTC."""
    array = plain(array)
    kind = array.type
    if pa.types.is_timestamp(kind):
        return _scaled(array.cast(pa.int64()), kind.unit)
    if pa.types.is_date(kind):
        return _scaled(array.cast(pa.timestamp("ms")).cast(pa.int64()), "ms")
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return _scaled(array.cast(pa.int64()), unit)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or kind == pa.uint64():
        return _from_floats(array.cast(pa.float64(), safe=False), unit)
    if is_text(kind) or pa.types.is_null(kind):
        return _from_text(array.cast(pa.large_string()), unit)
    raise DataError(f"timestamps of type {kind}; expected integers, floating-point numbers, Arrow timestamps or text")


def _scaled(array: pa.Array, unit: str) -> Times:
    missing = _null_mask(array)
    values = (array.fill_null(0) if missing is not None else array).to_numpy(zero_copy_only=False)
    if unit == "us":
        return Times(values, missing, None)
    if unit == "ns":
        return Times(values // 1000, missing, None)
    factor = 1_000_000 // PER_SECOND[unit]
    bound = _INT64_MAX // factor
    if len(values) and (values.max() > bound or values.min() < -bound):
        values = np.clip(values, -bound, bound)
    return Times(values * factor, missing, None)


def _from_floats(array: pa.Array, unit: str) -> Times:
    values = array.to_numpy(zero_copy_only=False).astype(np.float64)
    missing = np.isnan(values)
    unreadable = np.isinf(values)
    factor = 1_000_000 / PER_SECOND[unit]
    usable = np.where(missing | unreadable, 0.0, values)
    micros = np.clip(np.rint(usable * factor), -(2.0**62), 2.0**62).astype(np.int64)
    return Times(micros, missing if missing.any() else None, unreadable if unreadable.any() else None)


def _from_text(array: pa.Array, unit: str) -> Times:
    text = pc.utf8_trim_whitespace(array)
    missing = pc.or_kleene(pc.is_null(array), pc.equal(text, "")).fill_null(True).to_numpy(zero_copy_only=False)
    number = pc.match_substring_regex(text, r"^[+-]?\d+(\.\d*)?$").fill_null(False)
    numeric = number.to_numpy(zero_copy_only=False)
    micros = np.zeros(len(array), np.int64)
    unreadable = np.zeros(len(array), np.bool_)
    if numeric.any():
        found = _from_floats(text.filter(number).cast(pa.float64()), unit)
        micros[numeric] = found.micros
    rest = ~numeric & ~missing
    if rest.any():
        micros[rest], unreadable[rest] = _from_iso(text.filter(pa.array(rest)))
    return Times(micros, missing if missing.any() else None, unreadable if unreadable.any() else None)


def _from_iso(text: pa.Array) -> tuple[Ints, Mask]:
    for zone in (None, "UTC"):  # Arrow reads a whole column at once if all of it has, or lacks, a zone
        try:
            moments = text.cast(pa.timestamp("us", zone))
        except pa.ArrowInvalid:
            continue
        return moments.cast(pa.int64()).to_numpy(zero_copy_only=False), np.zeros(len(text), np.bool_)
    read = [read_moment(value) for value in text.to_pylist()]
    micros = np.array([0 if moment is None else moment for moment in read], np.int64)
    return micros, np.array([moment is None for moment in read])


def read_moment(text: str) -> int | None:
    """An ISO 8601 moment in µs since the epoch, UTC where no zone is given; None where it can't be read as one."""
    try:
        return parse_moment(text)
    except (ValueError, OverflowError):
        return None


def detect_unit(array: pa.Array) -> str | None:
    """Unit of numeric timestamps, told from the magnitude of the median of the positive ones; None where none is.

    Seconds below 1e11 (the year 5138), ms below 1e14, µs below 1e17, ns above.
    """
    array = plain(array)
    if is_text(array.type):
        text = pc.utf8_trim_whitespace(array.cast(pa.large_string()))
        array = text.filter(pc.match_substring_regex(text, r"^\d+(\.\d*)?$").fill_null(False)).cast(pa.float64())
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or pa.types.is_decimal(array.type)):
        return None
    values = array.cast(pa.float64(), safe=False).drop_null().to_numpy(zero_copy_only=False)
    values = values[np.isfinite(values) & (values > 0)]
    if len(values) == 0:
        return None
    middle = float(np.median(values))
    return next((unit for bound, unit in _UNIT_BOUNDS if middle < bound), "ns")


def _null_mask(array: pa.Array) -> Mask | None:
    if array.null_count == 0:
        return None
    mask: Mask = array.is_null().to_numpy(zero_copy_only=False)
    return mask
