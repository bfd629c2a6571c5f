from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import ArtifactError
from retrieval.storage import ArtifactStore, write_manifest
from retrieval.storage.keys import version_key
from retrieval.towers.artifact import VERSION_KIND
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.golden_users import FILE, GoldenUsers, read_golden_users, write_golden_users

VERSION = ModelVersion("demo", 1)


def published(root: Path, write: object) -> ArtifactStore:
    store = ArtifactStore.create(str(root), cache=root.parent / "cache")
    staged = store.staging()
    write(staged / FILE)  # type: ignore[operator]
    write_manifest(staged, VERSION_KIND, {"model": "demo", "version": 1})
    store.publish(staged, version_key(VERSION))
    return store


@pytest.mark.parametrize("shape", [(5, 8), (5, 3, 8), (0, 8)])
def test_they_come_back_as_they_were_written(tmp_path: Path, shape: tuple[int, ...]) -> None:
    vectors = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    golden = GoldenUsers(np.arange(shape[0]) * 7, vectors, "abc")
    store = published(tmp_path / "store", lambda path: write_golden_users(path, golden))
    found = read_golden_users(store, VERSION)
    assert found is not None
    assert found.rows.tolist() == golden.rows.tolist()
    assert found.snapshot == "abc"
    np.testing.assert_array_equal(found.vectors, vectors)


def test_a_version_of_before_has_none(tmp_path: Path) -> None:
    store = published(tmp_path / "store", lambda path: (path.parent / "other").write_text("x"))
    assert read_golden_users(store, VERSION) is None


def test_another_file_is_refused(tmp_path: Path) -> None:
    store = published(tmp_path / "store", lambda path: path.write_text("no table"))
    with pytest.raises(ArtifactError, match=r"golden_users\.arrow: not golden users"):
        read_golden_users(store, VERSION)
