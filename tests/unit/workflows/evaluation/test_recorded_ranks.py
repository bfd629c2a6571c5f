"""A version keeps where its training ranked each test target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import ArtifactError
from retrieval.storage import write_manifest
from retrieval.storage.keys import version_key
from retrieval.towers.artifact import VERSION_KIND
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.recorded_ranks import FILE, measured_under, read_ranks
from retrieval.workflows.training.train import train_version
from tests.tiny import TINY_SETTINGS, make_workspace, write_tiny

SETTINGS = (
    TINY_SETTINGS
    + """\
[towers]
dim = 16
expansion = 2
[training]
epochs = 1
min_batches = 5
threads = 1
[evaluation]
baselines = []
"""
)


def test_the_ranks_are_those_of_the_report(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    workspace = make_workspace(tmp_path, SETTINGS)
    report = train_version(workspace, show=False).report
    assert report is not None
    assert report.evidence is not None
    assert report.model is not None
    kept = read_ranks(workspace.store(), ModelVersion("demo", 1))
    assert kept is not None
    np.testing.assert_array_equal(kept.targets, report.evidence.targets)
    np.testing.assert_array_equal(kept.ranks, report.evidence.rankings[report.model.name].ranks)
    assert (kept.ranks < 10).mean() == pytest.approx(report.metrics["hr@10"])
    assert kept.protocol == measured_under(workspace.settings, workspace.dataset(show=False).snapshot)
    some = kept.targets[[5, 2, 9]]
    np.testing.assert_array_equal(kept.of(some), kept.ranks[[5, 2, 9]])


def test_a_version_without_a_test_has_none(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    workspace = make_workspace(tmp_path, SETTINGS)
    train_version(workspace, test=False, show=False)
    assert read_ranks(workspace.store(), ModelVersion("demo", 1)) is None


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    workspace = make_workspace(tmp_path, SETTINGS)
    store = workspace.store()
    staged = store.staging()
    (staged / FILE).write_bytes(b"no table")
    write_manifest(staged, VERSION_KIND, {"model": "demo", "version": 1})
    store.publish(staged, version_key(ModelVersion("demo", 1)))
    with pytest.raises(ArtifactError, match=rf"{FILE}.*not the ranks of a test"):
        read_ranks(store, ModelVersion("demo", 1))
