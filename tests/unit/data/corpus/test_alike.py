"""Items that share values, against a slow and obvious reference."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.data.corpus.alike import open_alike
from retrieval.data.facts import ranges
from retrieval.errors import DataError

values = st.lists(st.none() | st.lists(st.none() | st.sampled_from("abcd"), max_size=3), min_size=1, max_size=12)


@given(values, st.data())
def test_pairs_are_all_items_with_a_value_in_common(
    families: list[list[str | None] | None], data: st.DataObject
) -> None:
    table = pa.table({"item_id": range(len(families)), "family": pa.array(families, pa.list_(pa.string()))})
    [alike] = open_alike(table, ["family"])
    asked = data.draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, len(families) - 1)), max_size=6))
    lines, items = (np.array(part, np.int64) for part in (zip(*asked, strict=True) if asked else ((), ())))
    found = {pair for block in alike.pairs(lines, items) for pair in zip(*(one.tolist() for one in block), strict=True)}
    sets = [{*(one or [])} - {None} for one in families]
    assert found == {(line, other) for line, item in asked for other, has in enumerate(sets) if has & sets[item]}


def test_pairs_come_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"item_id": range(8), "series": [1, 1, 1, 2, 2, None, 3, 3]})
    [alike] = open_alike(table, ["series"])
    whole = list(alike.pairs(np.array([0, 1, 1]), np.array([0, 3, 6])))
    assert len(whole) == 1
    monkeypatch.setattr(ranges.row_blocks, "__defaults__", (3,))
    blocks = list(alike.pairs(np.array([0, 1, 1]), np.array([0, 3, 6])))
    assert len(blocks) > 1
    for side in (0, 1):
        assert np.concatenate([block[side] for block in blocks]).tolist() == whole[0][side].tolist()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("price", "corpus.seen_by names 'price', which holds double"),
        ("x", "corpus.seen_by names 'x'"),
    ],
)
def test_what_items_cannot_share_is_refused(name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_alike(pa.table({"item_id": ["a"], "price": [1.5]}), [name])
