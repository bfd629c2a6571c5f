"""A search over settings: what is tried, kept, stopped early and shown."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from typer.testing import CliRunner

from retrieval.cli.main import build_app
from retrieval.errors import ConfigError, ConflictError, DataError
from retrieval.training.loop import TrainResult
from retrieval.workflows.training.train import Training
from retrieval.workflows.tuning import tune as tuning
from retrieval.workflows.tuning.search_space import parse_tries
from retrieval.workflows.tuning.tune import TunePlan, tune
from retrieval.workflows.workspace import Workspace
from tests.tiny import make_workspace, write_tiny

SETTINGS = """
model.name = "demo"
[data]
events = "data/events.parquet"
[[features.context]]
kind = "since_last"
name = "pause"
[towers]
dim = 8
blocks = 1
expansion = 1
[training]
epochs = 2
validate_every = 1
min_batches = 2
threads = 1
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_tiny(tmp_path, users=20, items=12, events=8)
    make_workspace(tmp_path, SETTINGS)
    return tmp_path


@pytest.fixture(autouse=True)
def _same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study belongs to the code it was made with; here the code may be edited while tests run."""
    monkeypatch.setattr("retrieval.workflows.training.address.code_version", lambda: "0.1.0+same")


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Training by a formula: trials cost nothing, and which is best is known. Records what was trained."""
    trained: list[dict[str, Any]] = []

    def train(self: Training, run_dir: Path, *, show: bool, watch: Callable[..., None]) -> TrainResult:
        config, towers = self.settings.training, self.settings.towers
        trained.append({"rate": config.learning_rate, "dim": towers.dim, "seed": config.seed, "epochs": config.epochs})
        trained[-1]["run"] = run_dir
        score = 1 / (1 + abs(config.learning_rate - 0.003) * 100) + towers.dim / 1000 + config.seed / 10_000
        run_dir.mkdir(parents=True, exist_ok=True)
        watch({"ndcg@10": score})
        metrics = {"ndcg@10": score}
        return TrainResult(None, metrics, config.epochs, 1, 4, 100, 0.5, 0, run_dir, "cpu", "float32")  # type: ignore[arg-type]

    monkeypatch.setattr(Training, "train", train)
    return trained


def plan(*flags: str, sampler: str = "random", **rest: Any) -> TunePlan:
    tried = parse_tries(flags or ["training.learning_rate=0.001..0.1:log"], grid=sampler == "grid")
    return TunePlan(tried, sampler=sampler, **rest)  # type: ignore[arg-type]


def test_a_grid_covers_all_and_the_best_is_the_best(root: Path, scored: list[dict[str, Any]]) -> None:
    outcome = tune(
        Workspace.open(root),
        plan("training.learning_rate=0.001,0.003,0.01", "towers.dim=8,16", sampler="grid", prune=False),
        show=False,
    )
    assert sorted((one["rate"], one["dim"]) for one in scored) == [
        (rate, dim) for rate in (0.001, 0.003, 0.01) for dim in (8, 16)
    ]
    assert outcome.best is not None
    assert outcome.best.values == {"training.learning_rate": 0.003, "towers.dim": 16}
    metrics = [one.metric for one in outcome.trials]
    assert metrics == sorted(metrics, key=lambda value: -(value or 0))
    assert outcome.best.metric == max(value for value in metrics if value is not None)
    assert outcome.best.examples_per_s == 200.0


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
def test_an_interrupted_search_goes_on(
    root: Path, scored: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    flag = "training.learning_rate=0.001..0.1:log" + (":6" if sampler == "grid" else "")
    wanted = plan(flag, sampler=sampler, trials=6, prune=False)
    train = Training.train

    def pulled(self: Training, *rest: Any, **more: Any) -> TrainResult:
        if len(scored) == 3:
            scored.append({"rate": self.settings.training.learning_rate, "run": rest[0]})
            raise KeyboardInterrupt
        return train(self, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "train", pulled)
        first = tune(Workspace.open(root), wanted, show=False)
    assert (first.interrupted, len(first.trials), first.found) == (True, 3, 0)
    broken_off = scored.pop()
    again = tune(Workspace.open(root), wanted, show=False)
    assert (again.interrupted, len(again.trials), again.found) == (False, 6, 3)
    assert (scored[3]["rate"], scored[3]["run"]) == (broken_off["rate"], broken_off["run"])  # from its checkpoint
    assert len({one["rate"] for one in scored}) == len(scored) == 6
    assert all(one in again.trials for one in first.trials)
    more = tune(Workspace.open(root), wanted, show=False)
    assert more.trials == again.trials
    assert len(scored) == 6


def test_more_trials_are_added_and_fresh_forgets(root: Path, scored: list[dict[str, Any]]) -> None:
    assert len(tune(Workspace.open(root), plan(trials=2), show=False).trials) == 2
    more = tune(Workspace.open(root), plan(trials=4), show=False)
    assert (len(more.trials), more.found, len(scored)) == (4, 2, 4)
    assert tune(Workspace.open(root), plan(trials=2), fresh=True, show=False).found == 0
    # other inputs are another study
    assert tune(Workspace.open(root, ["training.weight_decay=0.5"]), plan(trials=1), show=False).found == 0


def test_what_was_tried_is_not_trained_again(root: Path, scored: list[dict[str, Any]]) -> None:
    outcome = tune(Workspace.open(root), plan("towers.dim=8,16,24", sampler="tpe", trials=50), show=False)
    assert sorted(one["dim"] for one in scored) == [8, 16, 24]
    assert len(outcome.trials) == 3


def test_several_seeds_and_epochs(root: Path, scored: list[dict[str, Any]]) -> None:
    outcome = tune(Workspace.open(root), plan("towers.dim=8,16", sampler="grid", seeds=3, epochs=7), show=False)
    assert [one["seed"] for one in scored] == [1, 2, 3] * 2
    assert {one["epochs"] for one in scored} == {7}
    assert outcome.best is not None
    assert outcome.best.deviation == pytest.approx(1e-4)
    assert outcome.best.metric == pytest.approx(1 / 1.1 + 0.016 + 2e-4)


def test_bad_trials_are_stopped_early(root: Path, scored: list[dict[str, Any]]) -> None:
    rates = "training.learning_rate=0.003,0.004,0.005,0.006,0.1"
    with_pruning = tune(Workspace.open(root), plan(rates, sampler="grid"), show=False)
    assert [one.state for one in with_pruning.trials] == ["done"] * 4 + ["pruned"]
    assert with_pruning.trials[-1].values == {"training.learning_rate": 0.1}
    without = tune(Workspace.open(root), plan(rates, sampler="grid", prune=False), show=False)
    assert {one.state for one in without.trials} == {"done"}


def test_a_trial_that_fails_is_kept_unless_it_is_the_first(
    root: Path, scored: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = Training.train

    def failing(self: Training, *rest: Any, **more: Any) -> TrainResult:
        if self.settings.towers.dim == 16:
            raise RuntimeError("out of memory")
        return train(self, *rest, **more)

    monkeypatch.setattr(Training, "train", failing)
    outcome = tune(Workspace.open(root), plan("towers.dim=8,16,24", sampler="grid"), show=False)
    assert [(one.values["towers.dim"], one.state) for one in outcome.trials] == [
        (24, "done"),
        (8, "done"),
        (16, "failed"),
    ]
    assert outcome.trials[-1].note == "out of memory"
    with pytest.raises(RuntimeError, match="memory"):
        tune(Workspace.open(root), plan("towers.dim=16,24", sampler="grid"), show=False)


def test_refusals_come_before_any_training(root: Path, scored: list[dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match=r"--try towers\.dim=2,8"):
        tune(Workspace.open(root), plan("towers.dim=2,8"), show=False)
    with pytest.raises(ConfigError, match="--epochs"):
        tune(Workspace.open(root), plan("training.epochs=2,3", epochs=4), show=False)
    write_tiny(root, users=20, items=12, events=2)
    with pytest.raises(DataError, match="validation targets"):
        tune(Workspace.open(root), plan(), show=False)
    assert not scored


def test_a_study_is_searched_by_one_at_a_time(
    root: Path, scored: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = Training.train

    def at_once(self: Training, *rest: Any, **more: Any) -> TrainResult:
        with pytest.raises(ConflictError, match="is running"):
            tune(Workspace.open(root), plan(trials=1), show=False)
        return train(self, *rest, **more)

    monkeypatch.setattr(Training, "train", at_once)
    assert len(tune(Workspace.open(root), plan(trials=1), show=False).trials) == 1


def test_a_fresh_search_leaves_the_one_that_runs_alone(
    root: Path, scored: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = Training.train

    def meanwhile(self: Training, *rest: Any, **more: Any) -> TrainResult:
        result = train(self, *rest, **more)
        with pytest.raises(ConflictError, match="the same search is running"):
            tune(Workspace.open(root), plan(trials=1), fresh=True, show=False)
        assert rest[0].is_dir()
        return result

    monkeypatch.setattr(Training, "train", meanwhile)
    assert len(tune(Workspace.open(root), plan(trials=1), show=False).trials) == 1


def test_really_trained_and_the_test_is_never_looked_at(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[int]] = []
    measure = __import__("retrieval.workflows.training.train", fromlist=["x"]).hit_rate_and_ndcg

    def watched(histories: Any, rows: Any, *rest: Any, **more: Any) -> Any:
        seen.append(set(rows.tolist()))
        return measure(histories, rows, *rest, **more)

    monkeypatch.setattr("retrieval.workflows.training.train.hit_rate_and_ndcg", watched)
    workspace = Workspace.open(root)
    outcome = tune(workspace, plan("training.learning_rate=0.0001,0.01", sampler="grid", prune=False), show=False)
    split = workspace.split(workspace.dataset(show=False))
    assert len(seen) == 4
    assert all(rows == set(split.valid.tolist()) for rows in seen)
    assert not any(rows & set(split.test.tolist()) for rows in seen)
    assert not list(outcome.study.glob("runs/*"))
    assert not (root / "store" / "models").exists()
    again = tune(workspace, plan("training.learning_rate=0.0001,0.01", sampler="grid"), fresh=True, show=False)
    assert {one.metric for one in again.trials} == {one.metric for one in outcome.trials}  # the same seed, the same run
    assert optuna.logging.get_verbosity() == optuna.logging.INFO


def test_the_command(root: Path, scored: list[dict[str, Any]]) -> None:
    runner = CliRunner()
    recipe = root / "best.toml"
    flags = ["tune", "-w", str(root), "--try", "training.learning_rate=0.001..0.1:log", "--try", "towers.dim=8,16"]
    budget = ["--trials", "4", "--sampler", "random", "--seeds", "2", "--epochs", "3"]
    first = runner.invoke(build_app(), [*flags, *budget, "--write", str(recipe)], env={"COLUMNS": "160"})
    assert first.exit_code == 0, first.output
    best = max(scored, key=lambda one: 1 / (1 + abs(one["rate"] - 0.003) * 100) + one["dim"] / 1000)
    text = " ".join(first.output.split())
    assert re.search(rf" 1 {best['rate']:g} {best['dim']} ", text)
    assert "ndcg@10 ± epochs seconds examples/s state" in text
    assert f"[training] learning_rate = {best['rate']} [towers] dim = {best['dim']}" in text
    written = tomllib.loads(recipe.read_text())
    assert written["training"]["learning_rate"] == best["rate"]
    assert written["training"]["epochs"] == 2  # the workspace's own; 3 was for the search
    assert "threads" not in written["training"]
    assert written["features"]["context"][0]["name"] == "pause"
    assert recipe.read_text().startswith("# Found by retrieval tune: validation ndcg@10")
    Workspace.open(root, recipe=written)

    refused = runner.invoke(build_app(), [*flags, "--write", str(recipe)])
    assert isinstance(refused.exception, ConfigError)
    again = runner.invoke(build_app(), [*flags, *budget, "--json"])
    said = json.loads(again.stdout)
    assert (said["found"], len(said["trials"]), len(scored)) == (4, 4, 8)
    assert said["best"]["values"]["training.learning_rate"] == best["rate"]
    assert tomllib.loads(said["toml"])["towers"]["dim"] == best["dim"]


def test_ctrl_c_shows_what_there_is(root: Path, scored: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = tuning._Search._seeds

    def pulled(self: Any, *rest: Any) -> Any:
        if len(scored) == 2:
            raise KeyboardInterrupt
        return seeds(self, *rest)

    monkeypatch.setattr(tuning._Search, "_seeds", pulled)
    ended = CliRunner().invoke(build_app(), ["tune", "-w", str(root), "--try", "towers.dim=8,16,24"])
    assert ended.exit_code == 130
    assert "Interrupted" in ended.output
    assert "2 trials" in ended.output
