"""Items that are alike: that share a value of an attribute, such as a series or a product family.

N items, V distinct values. Compressed sparse rows: the entries of row i are offsets[i] … offsets[i + 1] − 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.arrays import Ints
from retrieval.data.facts.ranges import concat_ranges, edges_of, row_blocks
from retrieval.errors import DataError
from retrieval.filters.attributes import attribute_table

SETTING = "corpus.seen_by"


@dataclass(frozen=True)
class Alike:
    """Which items share a value of one attribute."""

    of_item: Ints
    """int64 [N + 1]: offsets of each item's values."""
    values: Ints
    """int64: the values of all items, 0 … V − 1."""
    of_value: Ints
    """int64 [V + 1]: offsets of each value's items."""
    items: Ints
    """int64: the items of all values."""

    def pairs(self, lines: Ints, items: Ints) -> Iterator[tuple[Ints, Ints]]:
        """For each of the `items` int64 [n], on a line of its own or with others (`lines` int64 [n]), all items alike
        to it: blocks of (lines, items), int64 each; a pair may come more than once.
        """
        counts = np.diff(self.of_item)[items]
        found = self.values[concat_ranges(self.of_item[items], counts)]
        lines, found = _distinct(np.repeat(lines, counts), found)
        sizes = np.diff(self.of_value)[found]
        for first, last in row_blocks(edges_of(sizes)):
            part = slice(first, last)
            yield (
                np.repeat(lines[part], sizes[part]),
                self.items[concat_ranges(self.of_value[found[part]], sizes[part])],
            )


def open_alike(items: pa.Table, names: Sequence[str]) -> tuple[Alike, ...]:
    """One for each column of the items, a row each. Raises DataError on one that is absent, or holds what is not
    shared: real numbers, flags.
    """
    table = attribute_table(items, names, setting=SETTING)
    return tuple(_alike(name, table[name].combine_chunks()) for name in table.column_names)


def _alike(name: str, column: pa.Array) -> Alike:
    count, rows = len(column), np.arange(len(column))
    if pa.types.is_list(column.type):
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        rows, column = np.repeat(rows, lengths), column.flatten()
    if not (pa.types.is_string(column.type) or pa.types.is_int64(column.type)):
        raise DataError(f"{SETTING} names {name!r}, which holds {column.type}; items share text or whole numbers")
    rows = rows[column.is_valid().to_numpy(zero_copy_only=False)]
    coded = column.drop_null().dictionary_encode()
    values = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return Alike(
        of_item=edges_of(np.bincount(rows, minlength=count)),
        values=values,
        of_value=edges_of(np.bincount(values, minlength=len(coded.dictionary))),
        items=rows[np.argsort(values, kind="stable")],
    )


def _distinct(lines: Ints, values: Ints) -> tuple[Ints, Ints]:
    """Each pair once."""
    width = int(values.max(initial=0)) + 1
    both = np.unique(lines * width + values)
    return both // width, both % width
