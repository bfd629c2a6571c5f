"""Slices: named groups of targets whose metrics are shown separately."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.arrays import Ints, Mask
from retrieval.data.facts.training import item_counts
from retrieval.data.histories.histories import Histories
from retrieval.errors import ConfigError

_LENGTHS = (0, 1, 5, 10, 50, 200)
SIDES = ("user", "item", "context")


@dataclass(frozen=True)
class Slice:
    """The targets (bool [T]) whose `column` has `value`."""

    column: str
    value: str
    members: Mask


@dataclass(frozen=True)
class SliceSources:
    """Where slices read from. Tables are aligned with the histories' users and items; None where there is none."""

    histories: Histories
    targets: Ints
    train_end: Ints
    users: pa.Table | None = None
    items: pa.Table | None = None


def standard_slices(sources: SliceSources) -> Iterator[Slice]:
    """New and known users, new and known items (by training events), and history lengths."""
    histories, targets = sources.histories, sources.targets
    starts = histories.first_rows_of(targets)
    new_user = np.asarray(sources.train_end)[histories.users_of(targets)] <= starts
    yield Slice("user", "new", new_user)
    yield Slice("user", "known", ~new_user)
    new_item = item_counts(histories, sources.train_end)[histories.items[targets]] == 0
    yield Slice("item", "new", new_item)
    yield Slice("item", "known", ~new_item)
    lengths = targets - starts
    for low, high in zip(_LENGTHS, (*_LENGTHS[1:], None), strict=True):
        name = f"{low}+" if high is None else (str(low) if high == low + 1 else f"{low}–{high - 1}")
        yield Slice("history length", name, (lengths >= low) & (lengths < (high or np.inf)))


def column_slices(sources: SliceSources, column: str, values: int) -> Iterator[Slice]:
    """The most frequent `values` of a column; quarters for numbers with more values than that; members of lists.

    `column` is user.NAME, item.NAME or context.NAME, or NAME where only one side has it. Raises ConfigError.
    """
    side, name = _find(sources, column)
    array = _values(sources, side, name)
    label = f"{side}.{name}"
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _of_lists(label, array, values)
        return
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if number and pc.count_distinct(array).as_py() > values:
        yield from _of_numbers(label, array)
        return
    yield from _of_values(label, array.cast(pa.large_string()), np.arange(len(array)), len(array), values)


def _columns(sources: SliceSources) -> dict[str, list[str]]:
    return {
        "user": [] if sources.users is None else sources.users.column_names,
        "item": [] if sources.items is None else sources.items.column_names,
        "context": list(sources.histories.context),
    }


def _find(sources: SliceSources, column: str) -> tuple[str, str]:
    known = _columns(sources)
    side, dot, name = column.partition(".")
    if dot and name in known.get(side, ()):
        return side, name
    sides = [side for side in SIDES if column in known[side]]
    if len(sides) == 1:
        return sides[0], column
    available = ", ".join(f"{side}.{name}" for side in SIDES for name in known[side]) or "none"
    problem = f"is on several sides ({', '.join(sides)}); say which" if sides else "does not exist"
    raise ConfigError(f"slice column {column!r} {problem}; there are: {available}")


def _values(sources: SliceSources, side: str, name: str) -> pa.Array:
    if side == "context":
        return sources.histories.context[name].take(sources.targets)
    table = sources.users if side == "user" else sources.items
    assert table is not None
    histories, targets = sources.histories, sources.targets
    rows = histories.users_of(targets) if side == "user" else np.asarray(histories.items[targets], np.int64)
    taken = table.column(name).take(pa.array(rows))
    return taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken


def _of_values(label: str, values: pa.Array, rows: Ints, targets: int, most: int) -> Iterator[Slice]:
    """Slices of text values; value i belongs to target rows[i]."""
    encoded = values.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    codes = np.asarray(pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False))
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    for code in sorted(range(len(names)), key=lambda code: (-counts[code], names[code]))[:most]:
        yield Slice(label, names[code], _members(rows[codes == code], targets))
    missing = _members(rows[codes < 0], targets)
    if missing.any():
        yield Slice(label, "(missing)", missing)


def _of_lists(label: str, array: pa.Array, most: int) -> Iterator[Slice]:
    parents = np.asarray(pc.list_parent_indices(array).to_numpy(zero_copy_only=False), np.int64)
    values = pc.list_flatten(array).cast(pa.large_string())
    empty = np.ones(len(array), np.bool_)
    empty[parents] = False
    yield from _of_values(label, values, parents, len(array), most)
    if empty.any():
        yield Slice(label, "(none)", empty)


def _of_numbers(label: str, array: pa.Array) -> Iterator[Slice]:
    numbers = np.asarray(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
    known = np.isfinite(numbers)
    edges = np.unique(np.quantile(numbers[known], [0.25, 0.5, 0.75]))
    quarters = np.searchsorted(edges, numbers, side="left")
    bounds = [-np.inf, *edges.tolist(), np.inf]
    for quarter in range(len(edges) + 1):
        members = known & (quarters == quarter)
        if members.any():
            low, high = bounds[quarter], bounds[quarter + 1]
            name = f"> {low:g}" if np.isinf(high) else f"≤ {high:g}" if np.isinf(low) else f"{low:g} < … ≤ {high:g}"
            yield Slice(label, name, members)
    if not known.all():
        yield Slice(label, "(missing)", ~known)


def _members(rows: Ints, targets: int) -> Mask:
    members = np.zeros(targets, np.bool_)
    members[rows] = True
    return members
