"""Learning what features need (vocabularies, quantiles, means) from the training part of a dataset, in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.arrays import Ints
from retrieval.data.facts.training import item_and_action_counts, training_rows, training_users
from retrieval.errors import DataError
from retrieval.features.columns import Column
from retrieval.features.declaration import SIDES, Declaration, Side
from retrieval.features.features import Features
from retrieval.features.kinds.categorical import Category
from retrieval.features.kinds.id import IdFeature
from retrieval.features.kinds.transform import Transform
from retrieval.features.known import anything_known
from retrieval.features.spec import ITEM_ID, FeatureSpec
from retrieval.features.vocabulary import Counter, Vocabulary

if TYPE_CHECKING:
    from retrieval.data.dataset import Dataset
    from retrieval.data.histories.histories import Histories
    from retrieval.data.splits import Split

_ROWS = 1 << 16


def fit_features(spec: FeatureSpec, dataset: Dataset, split: Split, begin: Ints | None = None) -> Features:
    """Learn the features of `spec` from the training events of `split`, and the users and items that occur in them.

    `begin` int64 [U] is the first row of each user that training reads (all, where it isn't given): an id whose events
    are all older is as unknown as one without any. Raises DataError where there is no training event, or a declared
    column is missing or of a wrong type.
    """
    histories = dataset.histories
    counts, action_counts = item_and_action_counts(histories, split.train_end, begin)
    if not counts.any():
        raise DataError("there are no training events: nothing can be learned from this split")
    users = training_users(histories, split.train_end, begin)
    items = np.flatnonzero(counts)
    sources: dict[Side, Callable[[Declaration], Iterator[Column]]] = {
        "user": lambda made: _table_blocks(made, "user", table=dataset.users, ids=histories.user_ids, rows=users),
        "item": lambda made: _table_blocks(made, "item", table=dataset.items, ids=histories.item_ids, rows=items),
        "context": lambda made: _context_blocks(made, histories, split.train_end, begin),
    }
    transforms: dict[Side, tuple[Transform, ...]] = {}
    for side in SIDES:
        fitted: list[Transform] = []
        for declaration in spec.declared(side):
            if side == "item" and isinstance(declaration, IdFeature) and declaration.name == ITEM_ID:
                vocabulary = _item_vocabulary(declaration, histories.item_ids, counts)
                fitted.append(Category(declaration, vocabulary))
            else:
                fitted.append(declaration.fit(sources[side](declaration)))
        transforms[side] = tuple(fitted)
    counter = Counter()
    counter.add(dict(zip(histories.action_names, action_counts.tolist(), strict=True)))
    made = Features(spec, transforms, counter.vocabulary(min_count=1, max_size=None, oov_buckets=1))
    return replace(made, new_items=_new_items(made, dataset))


def _new_items(features: Features, dataset: Dataset) -> tuple[str, ...]:
    """Ids of the catalogue's items that have none of the known ids, but features that don't vary with time."""
    fixed = [one for one in features.inputs("item") if not one.time_varying]
    if len(fixed) == 1:  # the id alone
        return ()
    ids, vocabulary = dataset.histories.item_ids, features.item_vocabulary
    columns = [name for name in features.columns("item") if name in dataset.items.column_names]
    table = dataset.items.select(columns)
    found: list[str] = []
    for start in range(0, len(ids), _ROWS):
        here = ids.slice(start, _ROWS).to_pylist()
        rows = np.flatnonzero(vocabulary.array(here) < vocabulary.first)
        if not len(rows):
            continue
        values = table.slice(start, _ROWS).take(rows)
        named = {ITEM_ID: [here[row] for row in rows.tolist()]}
        given = {name: values.column(name) for name in columns} | named
        encoded = features.encode("item", given, len(rows), np.zeros(len(rows), np.int64))
        found.extend(named[ITEM_ID][row] for row in np.flatnonzero(anything_known(fixed, encoded)).tolist())
    return tuple(found)


def _item_vocabulary(declaration: IdFeature, ids: pa.Array, counts: Ints) -> Vocabulary:
    counter = Counter()
    seen = np.flatnonzero(counts)
    for start in range(0, len(seen), _ROWS):
        rows = seen[start : start + _ROWS]
        counter.add(dict(zip(ids.take(pa.array(rows)).to_pylist(), counts[rows].tolist(), strict=True)))
    return counter.vocabulary(
        min_count=declaration.min_count,
        max_size=declaration.max_size,
        oov_buckets=declaration.oov_buckets,
        name=declaration.name,
    )


def _table_blocks(made: Declaration, side: Side, *, table: pa.Table, ids: pa.Array, rows: Ints) -> Iterator[Column]:
    if not made.stored:
        return
    if made.source in table.column_names:
        values: pa.Array | pa.ChunkedArray = table.column(made.source)
    elif made.source == f"{side}_id":
        values = ids
    else:
        known = ", ".join(table.column_names) or "no columns"
        raise DataError(f"features.{side}: {made.name!r} reads column {made.source!r}, but the {side}s have {known}")
    for start in range(0, len(rows), _ROWS):
        here = rows[start : start + _ROWS]
        yield Column.of(made.name, values.take(pa.array(here)), len(here))


def _context_blocks(
    made: Declaration, histories: Histories, train_end: npt.NDArray[np.int64], begin: Ints | None
) -> Iterator[Column]:
    if not made.stored or made.source is None:
        return
    if made.source not in histories.context:
        known = ", ".join(histories.context) or "none"
        raise DataError(
            f"features.context: {made.name!r} reads column {made.source!r}, but events carry {known}; "
            "name it in data.context_columns"
        )
    column = histories.context[made.source]
    for rows in training_rows(histories, train_end, begin):
        yield Column.of(made.name, column.take(rows), len(rows))
