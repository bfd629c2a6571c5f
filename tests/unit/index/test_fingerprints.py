"""Fingerprints of what the item tower reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import ArtifactError
from retrieval.index.fingerprints import fingerprints, open_fingerprints, write_fingerprints
from retrieval.index.metadata import read_metadata


def inputs(rows: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "item_id": random.integers(0, 1000, rows),
        "tags": random.integers(0, 9, (rows, 3)),
        "price": random.normal(size=(rows, 3)).astype(np.float32),
        "known": random.random(rows) < 0.5,
    }


@given(row=st.integers(0, 49), name=st.sampled_from(["item_id", "tags", "price", "known"]), bit=st.integers(0, 7))
def test_any_bit_changes_that_row_and_no_other(row: int, name: str, bit: int) -> None:
    before = inputs(50)
    after = {**before, name: before[name].copy()}
    after[name].view(np.uint8).reshape(50, -1)[row, -1] ^= 1 << bit
    changed = fingerprints(before) != fingerprints(after)
    assert changed.nonzero()[0].tolist() == [row]


def test_rows_that_are_the_same_have_the_same_wherever_they_stand() -> None:
    before = inputs(50)
    order = np.random.default_rng(1).permutation(50)
    assert np.array_equal(fingerprints({k: v[order] for k, v in before.items()}), fingerprints(before)[order])
    assert np.array_equal(fingerprints(dict(reversed(before.items()))), fingerprints(before))


def test_many_rows_have_as_many_fingerprints() -> None:
    codes = np.arange(300_000)
    assert len(np.unique(fingerprints({"item_id": codes, "tag": np.zeros_like(codes)}))) == len(codes)
    swapped = fingerprints({"item_id": np.zeros_like(codes), "tag": codes})
    assert not np.isin(swapped[1:], fingerprints({"item_id": codes, "tag": np.zeros_like(codes)})).any()


def test_a_shard_keeps_those_of_its_items(make_build: Any, tmp_path: Any) -> None:
    folder = make_build(300, shards=2).shard_folder(1)
    metadata = read_metadata(folder)
    assert len(open_fingerprints(folder, metadata)) == metadata.count
    write_fingerprints(tmp_path, np.zeros(metadata.count - 1, np.uint64))
    with pytest.raises(ArtifactError, match=r"fingerprints\.npy: not \d+ fingerprints"):
        open_fingerprints(tmp_path, metadata)
    (tmp_path / "fingerprints.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ArtifactError, match=r"fingerprints\.npy: not a readable"):
        open_fingerprints(tmp_path, metadata)
