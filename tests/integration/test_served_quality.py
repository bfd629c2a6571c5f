"""What is measured is what is served: a log that nobody prepared, real processes; and faults found at their stage."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from retrieval.data import leave_one_out
from retrieval.data.config import iso_moment
from retrieval.data.corpus import measured_corpus
from retrieval.evaluation.served import ServedQuality
from retrieval.serving.users.store import UserStore
from retrieval.simulation.synthetic import SynthConfig, write_synthetic
from retrieval.towers.loading import ItemTower
from retrieval.types import BuildId
from retrieval.workflows.evaluation.served.measure import measure_served
from retrieval.workflows.fleet.users import load_users
from retrieval.workflows.indexing import build as indexing
from retrieval.workflows.indexing.build import build_version_index
from retrieval.workflows.workspace import Workspace
from tests.serving_fleet import running_fleet
from tests.whole_path import PATIENT, SMALL, Made, make, retrieval

pytestmark = pytest.mark.timeout(420)
_WORLD = SynthConfig(users=500, items=400, days=6, new_items_per_day=0, new_users_per_day=0, seed=5)
_LEAVE_ONE_OUT = {"data.split": 'method = "leave_one_out"'}
_BY_TIME = {"data.split": 'method = "time"\nvalid_hours = 24.0\ntest_hours = 24.0'}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """From a CSV log to a deployed build, by the commands of the README, without a recipe."""
    folder = tmp_path_factory.mktemp("served")
    write_synthetic(_WORLD, folder / "source", show=False)
    for name in ("events", "items.parquet", "users.parquet"):
        table = pq.read_table(folder / "source" / name)
        plain = [field.name for field in table.schema if not pa.types.is_nested(field.type)]
        csv.write_csv(table.select(plain), (folder / name).with_suffix(".csv"))
    importing = ["csv", str(folder / "events.csv"), "--context", "device", "--users", str(folder / "users.csv")]
    importing += ["--items", str(folder / "items.csv")]
    return make(folder, "shop", importing, PATIENT, SMALL, _LEAVE_ONE_OUT)


@pytest.fixture
def workspace(made: Made) -> Workspace:
    return made.workspace()


@pytest.fixture(scope="module")
def by_time(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The same of a log whose items come as time goes on, split by time."""
    folder = tmp_path_factory.mktemp("by_time")
    world = SynthConfig(users=400, items=300, days=7, new_items_per_day=20, seed=6)
    write_synthetic(world, folder / "source", show=False)
    importing = ["parquet", str(folder / "source" / "events"), "--context", "device"]
    importing += ["--items", str(folder / "source" / "items.parquet")]
    return make(folder, "portal", importing, PATIENT, SMALL, _BY_TIME)


def lost(quality: ServedQuality | dict[str, Any]) -> dict[str, float]:
    """HR@10 that is lost at each stage."""
    body = quality if isinstance(quality, dict) else quality.to_dict()
    return {stage["name"]: stage["loss"]["value"] for stage in body["stages"] if stage["loss"] is not None}


def test_what_is_served_is_what_training_reported(made: Made) -> None:
    with running_fleet(made.root) as fleet:
        found = retrieval(made.root, "evaluate", "--served")
        address = fleet.address
        named = retrieval(made.root, "evaluate", "--served", "--address", address, "--max-loss", "0.005")
    assert found["asked"] == named["asked"] == address
    assert (found["version"], found["build"]) == (made.trained["version"], made.built["build"])
    first, last = found["stages"][0], found["stages"][-1]
    assert (first["name"], last["name"]) == ("trained", "answer")
    assert first["hit_rate"] == pytest.approx(made.trained["metrics"]["hr@10"])
    low, high = found["whole"]["interval"]
    assert low <= 0.0 <= high
    assert abs(found["whole"]["value"]) <= 0.003
    assert all(abs(loss) <= 0.003 for loss in lost(found).values())
    assert sum(lost(found).values()) == pytest.approx(found["whole"]["value"])
    assert found["problems"] == found["remarks"] == []
    assert 0.1 < last["hit_rate"] < 1.0  # there is something to lose


def test_without_services_the_same_engine_answers_in_this_process(workspace: Workspace) -> None:
    found = measure_served(workspace, show=False)
    assert found.asked == "in this process"
    assert found.stages.last.name == "merging"
    assert abs(found.stages.whole.value) <= 0.003


def test_an_index_of_the_moment_that_was_measured_answers_as_reported(by_time: Made) -> None:
    workspace = by_time.workspace()
    assert workspace.split(by_time.dataset()).name == "time"
    # what `index build` makes holds items of the window, too: all that differs is told apart as the moment
    newest = measure_served(workspace, show=False)
    assert abs(newest.stages.whole.value - lost(newest)["moment"]) <= 0.003
    assert newest.problems() == []
    (remark,) = newest.remarks
    measured = re.search(r"evaluation's are of (\S+)\. ", remark)
    assert measured is not None
    build = retrieval(by_time.root, "index", "build", "--set", f"index.as_of={measured[1]}")["build"]
    then = measure_served(workspace, build=BuildId.parse(build), show=False)
    assert then.stages.first.hit_rate == pytest.approx(by_time.trained["metrics"]["hr@10"])
    assert abs(then.stages.whole.value) <= 0.003
    assert lost(then)["moment"] == 0.0
    assert then.problems() == list(then.remarks) == []


def test_what_is_alike_to_the_newest_events_is_left_out_of_what_is_measured_and_of_what_is_served(
    workspace: Workspace,
) -> None:
    free = measure_served(workspace, show=False)
    declared = Workspace.open(workspace.root, ['corpus.seen_by=["category"]', "corpus.seen_by_events=1"])
    found = measure_served(declared, show=False)
    assert found.stages.last.hit_rate < 0.9 * free.stages.last.hit_rate  # people stay with a category
    assert all(abs(loss) <= 0.003 for loss in lost(found).values())
    assert abs(found.stages.whole.value) <= 0.003


def test_where_the_index_is_refreshed_those_who_meet_the_build_are_asked_for(by_time: Made) -> None:
    workspace = Workspace.open(by_time.root, ["corpus.refresh_minutes=60"])
    dataset = by_time.dataset()
    split = workspace.split(dataset)
    moments = measured_corpus(workspace.settings.corpus, dataset, split).moments(
        dataset.histories.timestamps[split.test]
    )
    middle = int(np.sort(moments)[len(moments) // 2])
    build = retrieval(by_time.root, "index", "build", "--set", f"index.as_of={iso_moment(middle)}")["build"]
    found = measure_served(workspace, build=BuildId.parse(build), show=False)
    assert found.stages.targets == found.available == int((moments == middle).sum()) > 10
    assert abs(found.stages.whole.value) <= 0.003
    # training measured with an index that was built once
    assert found.stages.first.name == "exported"
    assert any("another protocol (refresh_minutes)" in remark for remark in found.remarks)


def test_items_of_other_weights_are_found_at_the_vectors(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    embed = ItemTower.embed

    def other(self: ItemTower, inputs: Any) -> Any:
        turned = np.random.default_rng(0).permutation(self.dim)
        return np.ascontiguousarray(embed(self, inputs)[:, turned])

    with monkeypatch.context() as patch:
        patch.setattr(ItemTower, "embed", other)
        build = build_version_index(Workspace.open(workspace.root, ["index.seed=91"]), show=False).build.id
    found = measure_served(workspace, build=build, show=False)
    assert worst(found) == "vectors"
    assert "another vector" in found.problems()[0]


def test_an_item_that_is_missing_is_found_at_the_corpus(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = workspace.dataset(show=False)
    targets = dataset.histories.items[leave_one_out(dataset.histories).test]
    missing = dataset.histories.item_ids[int(np.bincount(targets).argmax())].as_py()
    make_contents = indexing.make_contents

    def without(items: pa.Table, *arguments: Any, **options: Any) -> Any:
        return make_contents(items.filter(pa.compute.not_equal(items["item_id"], missing)), *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(indexing, "make_contents", without)
        build = build_version_index(Workspace.open(workspace.root, ["index.seed=92"]), show=False).build.id
    found = measure_served(workspace, build=build, max_loss=0.0, show=False)
    assert worst(found) == "corpus"
    (stage,) = (stage for stage in found.stages.stages if stage.name == "corpus")
    assert stage.remark == "1 items are measured but not indexed"


def test_histories_that_were_cut_are_found_at_the_users(workspace: Workspace) -> None:
    with cut_histories(workspace, events=2):
        found = measure_served(workspace, show=False)
    assert worst(found) == "users"
    assert "histories are not the log's" in found.problems()[0]


def test_items_that_were_taken_down_are_found_at_the_merging(workspace: Workspace) -> None:
    dataset = workspace.dataset(show=False)
    (workspace.root / "takedowns.txt").write_text("\n".join(dataset.histories.item_ids.to_pylist()[:200]))
    found = measure_served(Workspace.open(workspace.root, ["serving.takedowns=takedowns.txt"]), show=False)
    assert worst(found) == "merging"


def test_past_the_limit_the_command_fails_and_the_report_shows_where(made: Made, tmp_path: Path) -> None:
    with cut_histories(made.workspace(), events=0):
        body = retrieval(made.root, "evaluate", "--served", "--report", str(tmp_path / "r.html"), code=8)
    assert any("at the stage 'users'" in problem for problem in body["served"]["problems"])
    page = (tmp_path / "r.html").read_text()
    assert "<h2" in page
    assert "what is as served from here on" in page
    assert body["served"]["version"] == body["model"]["name"]


def worst(found: ServedQuality) -> str:
    """The stage with the largest loss, which is over the limit; all before it lose nothing."""
    losses = lost(found)
    name = max(losses, key=lambda stage: losses[stage])
    assert any(f"at the stage {name!r}" in problem for problem in found.problems())
    for stage in losses:
        if stage == name:
            break
        assert abs(losses[stage]) <= 0.003, stage
    return name


@contextmanager
def cut_histories(workspace: Workspace, events: int) -> Iterator[None]:
    """The user store with the newest events before the target only, while the block runs."""
    with closing(UserStore.open(workspace.root / workspace.settings.serving.user_store, write=True)) as store:
        records = []
        for user in workspace.dataset(show=False).histories.user_ids.to_pylist():
            record = store.record(user)
            assert record is not None
            for column in ("item_ids", "timestamps", "actions"):
                values = getattr(record.history, column)
                del values[: max(0, len(values) - events - 1)]
            records.append((user, record))
        for _ in store.load(records):
            pass
    try:
        yield
    finally:
        load_users(workspace, show=False)
