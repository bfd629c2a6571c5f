"""Items of which a model version knows nothing: in no index, and found by no evaluation, unless asked for."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from retrieval.data import leave_one_out
from retrieval.data.facts.training import item_counts
from retrieval.evaluation.evaluate import inner_products
from retrieval.evaluation.ranking import make_task, rank_targets
from retrieval.features import FeatureSpec
from retrieval.index.query import Query
from retrieval.index.shard import open_shard
from retrieval.storage import read_manifest
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.evaluate import EvaluationSetup
from retrieval.workflows.indexing.build import build_version_index
from retrieval.workflows.workspace import Workspace
from tests.tiny import TINY_SETTINGS, make_workspace, registered_version, tiny_dataset

VERSION = ModelVersion("demo", 1)
SETTINGS = TINY_SETTINGS + '[corpus]\nitems = "catalog"\n[index]\nthreads = 1\nmin_recall = 0.0\n'
ASKED = ("corpus.unknown_items=true",)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a version that knows items by their ids alone."""
    folder = tmp_path_factory.mktemp("workspace")
    dataset = tiny_dataset(folder, users=30, items=80, events=9)
    workspace = make_workspace(folder, SETTINGS)
    registered_version(workspace, dataset, VERSION, spec=FeatureSpec.model_validate({"history": {"length": 12}}))
    return folder


def _known(setup: EvaluationSetup) -> np.ndarray:
    histories = setup.dataset.histories
    return item_counts(histories, leave_one_out(histories).train_end) > 0


def _found(root: Path, *flags: str) -> dict[str, float]:
    """Scores of all that a user's vector finds in an index."""
    workspace = Workspace.open(root, flags)
    build = build_version_index(workspace, show=False).build
    shard = open_shard(workspace.store().locate(f"builds/demo/{build.number}") / "shard-0-of-1")
    hits = shard.search(np.eye(16, dtype=np.float32)[:1], [Query(1000)])[0]
    return dict(zip(hits.item_ids, hits.scores.tolist(), strict=True))


def test_they_are_not_indexed_which_is_said(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    setup = EvaluationSetup.open(Workspace.open(root), show=False)
    known = _known(setup)
    with caplog.at_level(logging.INFO):
        found = _found(root)
    ids = setup.dataset.histories.item_ids
    assert found.keys() == {ids[row].as_py() for row in np.flatnonzero(known)}
    assert f"{(~known).sum()} of {len(known)} items are left out" in caplog.text
    workspace = Workspace.open(root)
    build = build_version_index(workspace, show=False).build
    facts = read_manifest(workspace.store().locate(f"builds/demo/{build.number}")).facts
    assert (facts["items"], facts["left_out"]) == (known.sum(), (~known).sum())


def test_asked_for_they_are_and_score_nothing(root: Path) -> None:
    setup = EvaluationSetup.open(Workspace.open(root), show=False)
    known, ids = _known(setup), setup.dataset.histories.item_ids
    found = _found(root, *ASKED)
    assert len(found) == len(known)
    assert {found[ids[row].as_py()] for row in np.flatnonzero(~known)} == {0.0}


def test_evaluation_ranks_what_the_index_holds(root: Path) -> None:
    for flags in ((), ASKED):
        setup = EvaluationSetup.open(Workspace.open(root, flags), show=False)
        histories, known = setup.dataset.histories, _known(setup)
        task = make_task(histories, setup.split.test, setup.corpus)
        tower, items = setup.towers(VERSION)
        queries = np.tile(np.eye(16, dtype=np.float32)[:1], (len(task.targets), 1))
        scores = inner_products(task, queries, items)(slice(0, 1))[0]
        ranked = {histories.item_ids[row].as_py() for row in task.columns[scores > -np.inf].tolist()}
        assert ranked == _found(root, *flags).keys()
        ranks = rank_targets(task, inner_products(task, queries, items)).ranks
        unknown = ~known[histories.items[task.targets]]
        assert unknown.any()
        assert (ranks[unknown] > len(known)).all() == (not flags)
        assert tower.version == VERSION
