"""Which users have had new events, or another profile, since an earlier snapshot of the data.

U users of the data as it is now. Costs what comparing arrays costs: no record is made of a user who is the same.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.arrays import Ints, Mask
from retrieval.data import Dataset, Histories
from retrieval.data.facts.ranges import event_blocks

_MULTIPLY = np.uint64(0xBF58476D1CE4E5B9)
_OTHER = np.uint64(0x94D049BB133111EB)


def changed_users(now: Dataset, before: Dataset) -> Ints:
    """Users whose record is another than before, ascending: int64 [n]."""
    place = before.histories.user_rows(now.histories.user_ids)
    known = place >= 0
    changed: Mask = ~known
    old, new = place[known], np.flatnonzero(known)
    same = _counts(now.histories)[new] == _counts(before.histories)[old]
    codes = now.histories.item_rows(before.histories.item_ids)  # items as they are numbered now
    sums_now = _sums(now.histories, np.arange(len(now.histories.item_ids)), now.histories.action_names)
    sums_before = _sums(before.histories, codes, now.histories.action_names)
    same &= sums_now[new] == sums_before[old]
    same &= _same_profiles(now.users, before.users, new, old)
    changed[new] = ~same
    return np.flatnonzero(changed)


def _counts(histories: Histories) -> Ints:
    return np.diff(histories.offsets)


def _sums(histories: Histories, codes: Ints, action_names: tuple[str, ...]) -> npt.NDArray[np.uint64]:
    """uint64 [U]: the sum of a hash of each of a user's events: item (by its code in `codes`), action, time."""
    place = {name: code for code, name in enumerate(action_names)}
    actions = np.array([place.get(name, len(place)) for name in histories.action_names] or [0], np.uint64)
    total = np.zeros(histories.users + 1, np.uint64)
    for rows in event_blocks(histories):
        items = codes[histories.items[rows]].astype(np.uint64)
        state = np.asarray(histories.timestamps[rows]).astype(np.uint64) * _MULTIPLY
        state = (state ^ (state >> np.uint64(31)) ^ items) * _OTHER
        state = (state ^ (state >> np.uint64(29)) ^ actions[histories.actions[rows]]) * _MULTIPLY
        state ^= state >> np.uint64(32)
        users = histories.users_of(np.arange(rows.start, rows.stop))
        first = np.flatnonzero(np.r_[True, users[1:] != users[:-1]])
        total[users[first]] += np.add.reduceat(state, first)
    return total[:-1]


def _same_profiles(now: pa.Table, before: pa.Table, new: Ints, old: Ints) -> Mask:
    """Of users at rows `new` and, before, `old`: whether all columns of their profiles are the same, bool [n]."""
    same = np.ones(len(new), np.bool_)
    names = now.column_names[1:]
    if names != before.column_names[1:]:
        return ~same
    for name in names:
        one, other = now[name].take(pa.array(new)), before[name].take(pa.array(old))
        if one.type != other.type:
            return np.zeros(len(new), np.bool_)
        same &= _equal(one, other)
    return same


def _equal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> Mask:
    if pa.types.is_dictionary(one.type):
        one, other = (pc.cast(column, column.type.value_type) for column in (one, other))
    if pa.types.is_nested(one.type):  # Arrow compares no lists
        return np.array([a == b for a, b in zip(one.to_pylist(), other.to_pylist(), strict=True)], np.bool_)
    alike = pc.equal(one, other).fill_null(False).to_numpy()
    neither = pc.and_(pc.is_null(one, nan_is_null=True), pc.is_null(other, nan_is_null=True)).to_numpy()
    found: Mask = alike | neither
    return found
