from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.data.config import iso_moment
from retrieval.errors import GateError
from retrieval.types import BuildId, ModelVersion
from retrieval.workflows.fleet.deployment import deploy_build
from retrieval.workflows.retrain.chain import STEPS, run_retrain
from retrieval.workflows.retrain.check_model import model_facts
from retrieval.workflows.retrain.check_serving import serving_facts
from retrieval.workflows.retrain.plan import plan_retrain
from retrieval.workflows.workspace import Workspace
from tests.retraining import SHADOW_REQUESTS, SLICE_TARGETS, after_days, retrain_workspace
from tests.whole_path import retrieval

NAMES = [step.name for step in STEPS]


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose chain ran twice, five days apart."""
    workspace = retrain_workspace(tmp_path_factory.mktemp("retrain") / "workspace")
    for days in (20, 25):
        outcome = run_retrain(workspace, as_of_us=after_days(days))
        assert [step.found for step in outcome.steps] == [False] * len(STEPS)
    return workspace


def active(workspace: Workspace) -> ModelVersion:
    with closing(workspace.registry()) as registry:
        row = registry.active_build("demo")
    assert row is not None
    return row.model_version


def test_run_again_it_finds_all_and_does_nothing(retrained: Workspace) -> None:
    before = active(retrained)
    outcome = run_retrain(retrained, as_of_us=after_days(25))
    assert [step.name for step in outcome.steps] == NAMES
    assert all(step.found for step in outcome.steps)
    assert outcome.run.state == "done"
    assert active(retrained) == before == ModelVersion("demo", 2)
    assert plan_retrain(retrained, as_of_us=after_days(25)).nothing_to_do


def test_a_changed_setting_changes_what_depends_on_it(retrained: Workspace) -> None:
    def states(*overrides: str) -> dict[str, str]:
        opened = Workspace.open(retrained.root, overrides)
        plan = plan_retrain(opened, as_of_us=after_days(25))
        why = {step.name: step.why for step in plan.steps if step.state == "runs"}
        assert not overrides or any(overrides[0].partition("=")[0] in one for one in why.values()), why
        return {step.name: step.state for step in plan.steps if step.state != "done"}

    assert states() == {}
    assert states("index.M=8") == {
        "index": "runs", "verify": "follows", "check_build": "follows", "shadow": "follows", "check_serving": "follows",
        "roll_out": "follows", "collect": "follows"
    }  # fmt: skip
    trained = states("training.epochs=3")
    assert trained["train"] == "runs"
    assert set(NAMES) - set(trained) == {"events", "validate", "histories", "check_data"}
    assert states("gates.coverage=0.4") == {
        "validate": "runs", "check_data": "runs", "check_model": "runs", "check_build": "runs", "check_serving": "runs"
    }  # fmt: skip


def test_new_events_change_everything_and_the_plan_says_so(retrained: Workspace) -> None:
    plan = plan_retrain(retrained, as_of_us=after_days(26))
    states = {step.name: step.state for step in plan.steps}
    assert states["events"] == states["validate"] == "runs"
    assert states["train"] == "follows"
    assert "snapshot: " in next(step.why for step in plan.steps if step.name == "validate")


def test_lineage_tells_where_a_version_comes_from(retrained: Workspace, tmp_path: Path) -> None:
    root = retrained.root
    found = retrieval(root, "lineage", "demo@2", "--svg", str(tmp_path / "lineage.svg"))
    assert found["log"]["events"] > 0
    assert found["seed"] == 1
    assert [one["build"]["name"] for one in found["builds"]] == ["demo-b2"]
    assert {row["kind"] for row in found["builds"][0]["deployments"]} == {"deploy"}
    assert {row["gate"] for row in found["gates"] if row["outcome"] != "passed"} == {"version_skew"}
    assert retrieval(root, "lineage", "demo-b2")["version"] == "demo@2"
    picture = ET.parse(tmp_path / "lineage.svg").getroot()
    shown = "".join(picture.itertext())
    assert "demo@2, ready" in shown
    assert "demo-b2, ready" in shown


def test_slices_with_enough_targets_are_compared_with_the_live_version(retrained: Workspace) -> None:
    with closing(retrained.registry()) as registry:
        newest, first = registry.retraining.steps("demo", "evaluate")
    assert model_facts(first.output["facts"]).slices == ()
    facts = model_facts(newest.output["facts"])
    assert {"user", "item", "history length"} <= {one.column for one in facts.slices}
    assert all(one.targets >= SLICE_TARGETS for one in facts.slices)
    whole, known = facts.gaps["live"]["ndcg"], next(one for one in facts.slices if one.column == "user")
    assert (known.value, known.targets) == ("known", whole.targets)
    assert (known.ours, known.theirs) == pytest.approx((whole.ours, whole.theirs))
    assert known.high > whole.high  # it holds for all slices together


def test_the_build_is_asked_beside_the_live_one_before_it_is_rolled_out(retrained: Workspace) -> None:
    with closing(retrained.registry()) as registry:
        newest, first = registry.retraining.steps("demo", "shadow")
        (skew,) = [row for row in registry.retraining.gates("demo", build=2) if row.gate == "version_skew"]
        hosts = registry.hosts("demo")
    alone, facts = serving_facts(first.output["facts"]), serving_facts(newest.output["facts"])
    assert (alone.live, alone.skew, alone.replay) == ("", None, None)
    assert set(alone.unmeasured) == {"skew", "replay"}
    assert (facts.build, facts.live, facts.unmeasured) == ("demo-b2", "demo-b1", {})
    assert facts.parity is not None
    assert 0 < max(facts.parity.exported, facts.parity.served) < 1e-4
    assert facts.lost is not None
    assert facts.lost.targets == SHADOW_REQUESTS
    assert facts.lost.served == facts.lost.measured > 0
    assert facts.skew is not None
    assert [(one.items, one.users) for one in facts.skew.crossings] == [("demo@2", "demo@1"), ("demo@1", "demo@2")]
    assert all(0 <= one.crossed < one.matched and 0 < one.overlap < 1 for one in facts.skew.crossings)
    assert facts.replay is not None
    assert (facts.replay.requests, facts.replay.empty) == (SHADOW_REQUESTS, 0)
    assert 0.05 < facts.replay.overlap < 1
    assert skew.outcome == "warned"
    assert skew.measured == max(1 - one.crossed / one.matched for one in facts.skew.crossings)
    assert hosts == []  # nobody hears of the services that were asked
    assert not list((retrained.root / "run").glob("shadow-*"))


def test_the_command_says_what_was_done(retrained: Workspace) -> None:
    moment = iso_moment(after_days(25))
    done = retrieval(retrained.root, "retrain", "run", "--as-of", moment)
    assert [step["name"] for step in done["steps"]] == NAMES
    assert all(step["found"] for step in done["steps"])
    plan = retrieval(retrained.root, "retrain", "plan", "--as-of", moment)
    assert {step["state"] for step in plan["steps"]} == {"done"}


def test_what_a_gate_refuses_stays_out_until_somebody_says_why(tmp_path: Path) -> None:
    workspace = retrain_workspace(tmp_path / "workspace")
    run_retrain(workspace, as_of_us=after_days(20))
    # no version shows more than all items
    strict = Workspace.open(workspace.root, ("gates.coverage=1.5",))
    for _ in range(2):  # the second time it is found, not trained and measured again
        with pytest.raises(
            GateError, match=r"coverage: lists of demo@2 show .* \(1, at least 1\.5 by gates\.coverage\)"
        ):
            run_retrain(strict, as_of_us=after_days(25))
    assert active(workspace) == ModelVersion("demo", 1)
    listed = retrieval(workspace.root, "retrain", "list")
    assert [(run["state"], run["version"]) for run in listed] == [("refused", 2), ("refused", 2), ("done", 1)]
    with closing(workspace.registry()) as registry:
        assert len(registry.list_versions("demo", states=["ready"])) == 2  # it can be looked at
        (refused,) = registry.retraining.refusals(ModelVersion("demo", 2))
        assert (refused.gate, refused.measured, refused.threshold) == ("coverage", 1.0, 1.5)
    built = retrieval(workspace.root, "index", "build", "demo@2")
    with pytest.raises(GateError, match="was refused and is not deployed"):
        deploy_build(workspace, BuildId.parse(built["build"]), without_hosts=True)

    forced = run_retrain(strict, as_of_us=after_days(25), force="a test of the forms")
    assert forced.run.forced == "a test of the forms"
    assert active(workspace) == ModelVersion("demo", 2)
    audited = retrieval(workspace.root, "list", "audit", "--subject", "demo@2")
    assert [row["details"]["reason"] for row in audited if row["action"] == "gate.force"] == ["a test of the forms"]


def test_bad_data_stops_before_anything_is_trained(tmp_path: Path) -> None:
    workspace = retrain_workspace(tmp_path / "workspace")
    run_retrain(workspace, as_of_us=after_days(20))
    refused = retrieval(workspace.root, "retrain", "run", "--as-of", iso_moment(after_days(40)), code=8)
    assert "freshness: the last event is" in refused["message"]
    path = workspace.root / "data" / "items.parquet"
    items = pq.read_table(path)

    def write(table: pa.Table) -> None:
        pq.write_table(table, path)

    write(items.rename_columns(["hue" if name == "colour" else name for name in items.column_names]))
    with pytest.raises(GateError, match=r"validate refused.*features\.item read 'colour'.*have no such column"):
        run_retrain(workspace, as_of_us=after_days(25))
    constant = pa.array(["red"] * items.num_rows)
    write(items.set_column(items.column_names.index("colour"), "colour", constant))
    with pytest.raises(GateError, match=r"feature_drift: of all columns, item\.colour is spread most unlike"):
        run_retrain(workspace, as_of_us=after_days(25))
    with closing(workspace.registry()) as registry:
        assert [row.state for row in registry.retraining.runs("demo")] == ["refused", "refused", "refused", "done"]
        assert len(registry.list_versions("demo")) == 1
    assert active(workspace) == ModelVersion("demo", 1)


def test_asked_to_stop_it_ends_between_two_steps_and_goes_on_later(tmp_path: Path) -> None:
    workspace = retrain_workspace(tmp_path / "workspace")
    begun: list[str] = []

    def stop() -> bool:
        return len(begun) == 3

    first = run_retrain(
        workspace, as_of_us=after_days(20), stop=stop, begins=lambda name, _number, _count: begun.append(name)
    )
    assert (first.run.state, [step.name for step in first.steps]) == ("stopped", NAMES[:3])
    second = run_retrain(workspace)  # with the moment of the one that was stopped
    assert second.run.as_of_us == after_days(20)
    assert [step.name for step in second.steps if step.found] == NAMES[:3]
    assert json.dumps([step.output for step in second.steps], allow_nan=False)


def test_a_warm_start_begins_with_the_live_version_and_lineage_says_so(tmp_path: Path) -> None:
    workspace = retrain_workspace(tmp_path / "workspace", more="[retrain]\nwarm_start = true\nwarm_epochs = 1\n")
    outcomes = [run_retrain(workspace, as_of_us=after_days(days)) for days in (20, 25)]
    trained = [{step.name: step.output for step in outcome.steps}["train"] for outcome in outcomes]
    assert [one["parent"] for one in trained] == ["", "demo@1"]
    assert [len(one["losses"]) for one in trained] == [2, 1]
    assert trained[1]["losses"][0] < trained[0]["losses"][0]
    # its own outcome is live now: it is found all the same
    assert all(step.found for step in run_retrain(workspace, as_of_us=after_days(25)).steps)
    found = retrieval(workspace.root, "lineage", "2")
    assert found["parent"] == "demo@1"
    assert [one["version"] for one in found["parents"]] == ["demo@1"]
    # towers of another shape begin from scratch
    wider = Workspace.open(workspace.root, ("towers.dim=32",))
    plan = {step.name: step.why for step in plan_retrain(wider, as_of_us=after_days(25)).steps}
    assert "parent: demo@1 → nothing" in plan["train"]


def test_histories_of_older_logs_go_and_interrupted_trainings_stay_for_a_day(tmp_path: Path) -> None:
    workspace = retrain_workspace(tmp_path / "workspace", more="[retrain]\nkeep_logs = 1\ndeploy = true\n")
    fresh, old = (workspace.root / "runs" / "demo" / name for name in ("fresh", "old"))
    for folder in (fresh, old):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    by_hand = workspace.dataset(show=False).histories.path
    for days in (20, 25):
        run_retrain(workspace, as_of_us=after_days(days))
    left = {path.name for path in (workspace.root / "data" / ".histories").iterdir() if path.is_dir()}
    with closing(workspace.registry()) as registry:
        newest = registry.retraining.steps("demo", "histories")[0].output["snapshot"]
    assert left == {newest, by_hand.name}
    assert fresh.is_dir()
    assert not old.exists()
