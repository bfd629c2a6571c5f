from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import ArtifactError
from retrieval.index.items import LOOKUP, ItemIds, make_lookup, open_ids, write_lookup

TEXTS = ("items.arrow", "items.lookup")


def item_ids(names: list[str]) -> ItemIds:
    ids = pa.array(names, pa.string())
    return ItemIds(ids, *make_lookup(ids))


def refused(ids: pa.StringArray, hashes: np.ndarray, rows: np.ndarray) -> str:
    with pytest.raises(ArtifactError) as caught:
        ItemIds(ids, hashes, rows).verify(*map(Path, TEXTS))
    return str(caught.value)


def test_both_ways() -> None:
    ids = item_ids(["a", "ü", "", "10"])
    assert len(ids) == 4
    assert ids.rows(["10", "nope", "ü"]).tolist() == [3, 1]
    assert sorted(ids.rows({"ü", "", "nope"})) == [1, 2]
    assert ids.names(np.array([3, 0, 1, 2, 1])) == ["10", "a", "ü", "", "ü"]
    assert ids.rows([]).tolist() == []
    assert ids.names(np.empty(0, np.int64)) == []
    assert ids.rows(["\ud800", "a"]).tolist() == [0]  # no text that could be an id
    ids.verify(*map(Path, TEXTS))


def test_none_at_all() -> None:
    ids = item_ids([])
    assert ids.rows(["a"]).tolist() == []
    assert len(ids) == 0
    ids.verify(*map(Path, TEXTS))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), unique=True, max_size=300), st.data())
def test_any_ids_are_found_where_they_are(names: list[str], data: st.DataObject) -> None:
    ids = item_ids(names)
    ids.verify(*map(Path, TEXTS))
    wanted = data.draw(st.lists(st.one_of(st.sampled_from(names), st.text()) if names else st.text()))
    assert ids.rows(wanted).tolist() == [names.index(one) for one in wanted if one in names]
    assert ids.names(np.arange(len(names))) == names


def test_part_of_an_array_is_read_from_where_it_begins() -> None:
    ids = pa.array(["a", "bb", "ccc", "dddd"])[1:3]
    part = ItemIds(ids, *make_lookup(ids))
    assert part.names(np.array([0, 1])) == ["bb", "ccc"]
    assert part.rows(["dddd", "ccc", "a"]).tolist() == [1]


def test_a_row_out_of_bounds_is_refused() -> None:
    ids = item_ids(["a", "b"])
    for row in (2, -1, 2**40):
        with pytest.raises(ValueError, match="out of bounds"):
            ids.names(np.array([row]))


def test_ids_with_one_hash_are_told_apart_by_their_bytes() -> None:
    """Such ids can't be made; a lookup that says so can."""
    ids = pa.array(["a", "b", "c"])
    hashes, rows = make_lookup(ids)
    of = {"abc"[row]: hash_ for hash_, row in zip(hashes.tolist(), rows.tolist(), strict=True)}
    same = ItemIds(ids, np.array([of["b"]] * 3, np.uint64), np.array([0, 1, 2], np.uint32))
    assert same.rows(["b"]).tolist() == [1]
    other = ItemIds(ids, np.array([of["b"]] * 3, np.uint64), np.array([0, 2, 2], np.uint32))
    assert other.rows(["b"]).tolist() == []


def test_hashes_that_are_not_spread_evenly_are_found_all_the_same() -> None:
    """Most of what is looked up stands far from where its hash would be among even ones."""
    names = [f"i{i}" for i in range(5000)]
    _, rows = make_lookup(pa.array(names))
    for kept in (rows[:100], rows[-100:], np.append(rows[:50], rows[-50:])):
        few = [names[row] for row in kept]
        ids = item_ids(few)
        assert [name for name in names if len(ids.rows([name]))] == sorted(few, key=names.index)
        assert ids.rows(few).tolist() == list(range(100))


def test_a_lookup_that_is_not_the_ids_own_is_refused() -> None:
    ids = pa.array([f"i{i}" for i in range(50)])
    hashes, rows = make_lookup(ids)
    assert "items.lookup: entry 1 does not fit items.arrow" in refused(ids, hashes[::-1].copy(), rows[::-1].copy())
    assert "items.lookup: entry 3" in refused(ids, hashes, np.where(np.arange(50) == 3, 60, rows).astype(np.uint32))
    assert "items.lookup: entry" in refused(ids, hashes, np.where(np.arange(50) == 3, rows[4], rows).astype(np.uint32))
    assert "items.lookup: entry 7" in refused(ids, hashes + (np.arange(50) == 7).astype(np.uint64), rows)
    twice = pa.array(["a", "b", "a"])
    assert "items.arrow: item 'a' stands twice" in refused(twice, *make_lookup(twice))


def test_a_lookup_out_of_bounds_leads_nowhere() -> None:
    ids = pa.array(["a", "b"])
    hashes, _ = make_lookup(ids)
    assert ItemIds(ids, hashes, np.array([7, 2**32 - 1], np.uint32)).rows(["a", "b"]).tolist() == []


def test_the_file(tmp_path: Path) -> None:
    ids = pa.array(["x", "yy", "zzz"])
    write_lookup(tmp_path, ids)
    data = (tmp_path / LOOKUP).read_bytes()
    hashes, rows = make_lookup(ids)
    assert data == hashes.astype("<u8").tobytes() + rows.astype("<u4").tobytes()
    assert open_ids(tmp_path, ids).rows(["zzz"]).tolist() == [2]
    # part of the format: shards that stand must be found in
    assert make_lookup(pa.array(["x"]))[0].tolist() == [HASH_OF_X]
    (tmp_path / LOOKUP).write_bytes(data[:-1])
    with pytest.raises(ArtifactError, match=r"items\.lookup: 35 bytes, expected 36"):
        open_ids(tmp_path, ids)
    (tmp_path / LOOKUP).unlink()
    with pytest.raises(ArtifactError, match=r"items\.lookup: can't be mapped"):
        open_ids(tmp_path, ids)


HASH_OF_X = 14701554204517112595
