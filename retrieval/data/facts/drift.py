"""How the values of columns are spread over some events, and how far two such spreads are apart.

The population stability index of two spreads a and b over the same bins is Σ (a − b) ln(a / b): below .1 they count as
alike, above .25 as different (Siddiqi 2006, Credit Risk Scorecards). B bins, n events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.arrays import Figures, Ints
from retrieval.data.dataset import Dataset

ACTION = "action"
GONE = 10.0
"""Of a column that isn't there any more."""
_BINS = 20
_TENTHS = np.linspace(0, 1, 11)[1:-1]


@dataclass(frozen=True, slots=True)
class Spread:
    """How often each bin occurs among `events`. Bins are values, or lie between edges; others and missing follow."""

    values: tuple[str, ...]
    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def events(self) -> int:
        """Values in all; a list has several."""
        return sum(self.counts)


def spreads(
    dataset: Dataset, rows: Ints, columns: Mapping[str, Sequence[str]], bins: Mapping[str, Spread] | None = None
) -> dict[str, Spread]:
    """The spread of the action and of the `columns` (by side: user, item, context) over the events `rows`, by name.

    In the bins of others where these are given, else in the most frequent values or tenths. Vectors, and columns that
    are not there, are left out.
    """
    found = {}
    for name, values in _values(dataset, rows, columns):
        plain = _plain(values)
        if plain is None or (bins is not None and name not in bins):
            continue
        like = None if bins is None else bins[name]
        found[name] = _counted(plain, _bins(plain) if like is None else like)
    return found


def stability_index(now: Spread, before: Spread) -> float:
    """The population stability index of two spreads over the same bins, less what chance alone would give; ≥ 0."""
    n, m = now.events, before.events
    if not n or not m:
        return 0.0
    a, b = _shares(now), _shares(before)
    used = int(((np.array(now.counts) + np.array(before.counts)) > 0).sum())
    by_chance = (used - 1) * (1 / n + 1 / m)
    return max(0.0, float(((a - b) * np.log(a / b)).sum()) - by_chance)


def drift(now: Mapping[str, Spread], before: Mapping[str, Spread]) -> dict[str, float]:
    """The index of every column; one that has gone counts as `GONE`."""
    return {
        name: round(stability_index(now[name], spread), 4) if name in now else GONE for name, spread in before.items()
    }


def _shares(spread: Spread) -> Figures:
    counts = np.maximum(np.array(spread.counts, np.float64), 0.5)  # an empty bin is not impossible
    shares: Figures = counts / counts.sum()
    return shares


def _values(dataset: Dataset, rows: Ints, columns: Mapping[str, Sequence[str]]) -> list[tuple[str, pa.Array]]:
    histories = dataset.histories
    names = pa.array(histories.action_names, pa.large_string())
    found = [(ACTION, names.take(pa.array(np.asarray(histories.actions[rows], np.int64))))]
    context = histories.context
    found += [(f"context.{name}", context[name].take(rows)) for name in columns.get("context", ()) if name in context]
    sides = (
        ("user", dataset.users, histories.users_of(rows)),
        ("item", dataset.items, np.asarray(histories.items[rows], np.int64)),
    )
    for side, table, places in sides:
        there = [name for name in columns.get(side, ()) if name in table.column_names[1:]]
        found += [(f"{side}.{name}", table[name].take(pa.array(places)).combine_chunks()) for name in there]
    return found


def _plain(values: pa.Array) -> pa.Array | None:
    """Text or float64, null where missing; None for vectors."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    kind = values.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        if pa.types.is_floating(kind.value_type):
            return None
        return _plain(pc.list_flatten(values))
    if pa.types.is_dictionary(kind):
        return _plain(values.cast(kind.value_type))
    if pa.types.is_temporal(kind):
        values = values.cast(pa.int64(), safe=False) if not pa.types.is_date(kind) else values.cast(pa.timestamp("s"))
        return _plain(values.cast(pa.int64()))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        number = values.cast(pa.float64(), safe=False)
        return pc.if_else(pc.is_finite(number), number, None)
    return None if pa.types.is_nested(kind) else values.cast(pa.large_string())


def _bins(values: pa.Array) -> Spread:
    there = values.drop_null()
    if pa.types.is_floating(values.type):
        edges = np.unique(np.quantile(there.to_numpy(), _TENTHS)) if len(there) else np.zeros(0)
        return Spread((), tuple(edges.tolist()), ())
    counts = there.value_counts()
    order = pc.array_sort_indices(counts.field("counts"), order="descending")[:_BINS]
    return Spread(tuple(counts.field("values").take(order).to_pylist()), (), ())


def _counted(values: pa.Array, bins: Spread) -> Spread:
    missing = values.null_count
    if pa.types.is_floating(values.type):
        # an edge has a bin of its own: most numbers may be one and the same
        numbers = values.drop_null().to_numpy()
        edges = np.array(bins.edges)
        places = np.searchsorted(edges, numbers, "left") + np.searchsorted(edges, numbers, "right")
        counts = np.bincount(places, minlength=2 * len(edges) + 1)
        return Spread((), bins.edges, (*counts.tolist(), missing))
    known = pa.array(bins.values, pa.large_string())
    there = values.drop_null()
    if there.type != known.type:  # numbers where there was text
        there = there.cast(known.type)
    places = pc.index_in(there, known).fill_null(len(known)).to_numpy(zero_copy_only=False)
    counts = np.bincount(places, minlength=len(known) + 1)
    return Spread(bins.values, (), (*counts.tolist(), missing))
