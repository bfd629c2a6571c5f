"""What an index build holds is what evaluation ranks at the same moment, whatever [corpus] declares."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from retrieval.evaluation.ranking import make_task
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.evaluate import EvaluationSetup
from retrieval.workflows.indexing.build import build_version_index
from retrieval.workflows.indexing.vectors import build_vectors
from retrieval.workflows.workspace import Workspace
from tests.tiny import TINY_SETTINGS, make_workspace, registered_version, tiny_dataset

VERSION = ModelVersion("demo", 1)
SETTINGS = TINY_SETTINGS + "[index]\nshards = 2\nthreads = 1\nmin_recall = 0.0\n"
BY_TIME = ("data.split.method=time", "data.split.valid_hours=72", "data.split.test_hours=72")
DECLARATIONS = {
    "engaged": (),
    "catalog": ("corpus.items=catalog",),
    "engaged lately": ("corpus.engaged_days=5",),
    "where": ('corpus.where=["colour=red,blue", "price=10..80"]', "corpus.items=catalog"),
    "engaged, by time": BY_TIME,
    "catalog, by time": (*BY_TIME, "corpus.items=catalog"),
    "refreshed": ("corpus.refresh_minutes=720",),
    "refreshed, lately, by time": (*BY_TIME, "corpus.refresh_minutes=60", "corpus.engaged_days=4"),
    "refreshed, where": ("corpus.refresh_minutes=1440", 'corpus.where=["tags=t1"]', "corpus.items=catalog"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a version; some of its items have no event."""
    folder = tmp_path_factory.mktemp("workspace")
    dataset = tiny_dataset(folder, users=30, items=60, events=9)
    workspace = make_workspace(folder, SETTINGS)
    registered_version(workspace, dataset, VERSION)
    assert len(np.unique(dataset.histories.items)) < 60
    return folder


@pytest.mark.parametrize("declared", DECLARATIONS.values(), ids=DECLARATIONS)
@pytest.mark.parametrize("targets", ["valid", "test"])
def test_a_build_holds_the_candidates_of_its_moment(root: Path, declared: tuple[str, ...], targets: str) -> None:
    setup = EvaluationSetup.open(Workspace.open(root, declared), targets=targets, show=False)  # type: ignore[arg-type]
    histories = setup.dataset.histories
    rows = setup.split.test if targets == "test" else setup.split.valid
    for row in (rows[:1], rows[len(rows) // 2 :][:1]):
        task = make_task(histories, row, setup.corpus)
        (moment,) = task.moments.tolist()
        assert not len(task.missing(moment))
        assert held(root, declared, moment) == {histories.item_ids[item].as_py() for item in task.columns.tolist()}


def test_by_default_a_build_holds_what_leave_one_out_ranks(root: Path) -> None:
    """As the README has it: no moment is named anywhere."""
    setup = EvaluationSetup.open(Workspace.open(root), show=False)
    task = make_task(setup.dataset.histories, setup.split.test, setup.corpus)
    found = {setup.dataset.histories.item_ids[item].as_py() for item in task.columns.tolist()}
    assert held(root, ()) == found
    assert len(found) < 60


def held(root: Path, declared: tuple[str, ...], at_us: int | None = None) -> set[str]:
    """Ids of the items of an index as of a moment, or of the index that is built where none is named."""
    as_of = "" if at_us is None else (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)).isoformat()
    workspace = Workspace.open(root, [*declared, f'index.as_of="{as_of}"'])
    build = build_version_index(workspace, show=False).build
    return {*build_vectors(workspace.store(), build)["item_id"].to_pylist()}
