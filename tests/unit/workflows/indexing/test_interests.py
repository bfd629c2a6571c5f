"""A version with several vectors a user, through the pipeline: trained, indexed, checked, measured as it is served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest

from retrieval.towers.runtime import load_user_tower
from retrieval.workflows.evaluation.evaluate import evaluate_version, user_vectors
from retrieval.workflows.indexing.build import build_version_index
from retrieval.workflows.indexing.verify import verify_version_index
from retrieval.workflows.training.train import train_version
from tests.tiny import TINY_SETTINGS, make_workspace, tiny_dataset

SETTINGS = (
    TINY_SETTINGS
    + """\
[features.history]
length = 12
[towers]
dim = 16
interests = 3
[training]
epochs = 2
threads = 1
[evaluation]
ks = [5]
[index]
shards = 2
threads = 1
"""
)


def test_trained_indexed_and_measured(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path)
    workspace = make_workspace(tmp_path, SETTINGS)
    outcome = train_version(workspace, show=False)
    assert outcome.report is not None
    measured = evaluate_version(workspace, show=False)
    for name in ("hr@5", "ndcg@5", "mrr"):
        assert measured.metrics[name] == pytest.approx(outcome.report.metrics[name], abs=0.02), (
            "served, and in training"
        )
    build = build_version_index(workspace, show=False).build
    checked = verify_version_index(workspace, build.id, show=False)
    assert checked.recall is not None
    assert checked.recall > 0.99
    tower = load_user_tower(workspace.store(), outcome.version.id)
    split = workspace.split(workspace.dataset(show=False))
    users = user_vectors(dataset, tower, split.test)
    assert users.shape == (len(split.test), 3, 16)
    canary = workspace.store().locate(build.key) / "shard-0-of-2" / "canary.arrow"
    with pa.memory_map(str(canary)) as source:
        asked = np.array(pyarrow.ipc.open_file(source).read_all()["query"].to_pylist(), np.float32)
    each = users.reshape(-1, 16)
    assert all(np.abs(each - query).max(1).min() < 1e-5 for query in asked), "canaries are vectors of users"
