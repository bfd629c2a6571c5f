"""Training a version from a workspace, and the command that does it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from retrieval.arrays import Vectors
from retrieval.cli.main import build_app
from retrieval.data import make_split, open_dataset
from retrieval.data.splits import through_validation
from retrieval.errors import ConfigError, DataError, GateError
from retrieval.storage import read_manifest
from retrieval.towers.pair import space_id
from retrieval.towers.runtime import UserTower
from retrieval.training.loop import train
from retrieval.training.rows_read import fit_read
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.evaluate import evaluate_version
from retrieval.workflows.training import train as training
from retrieval.workflows.training.address import version_inputs_hash
from retrieval.workflows.training.train import RUNS, Training, train_version
from retrieval.workflows.workspace import Workspace
from tests.tiny import TINY_SETTINGS, make_workspace, write_tiny

SETTINGS = (
    TINY_SETTINGS
    + """\
[[features.user]]
kind = "categorical"
name = "country"
[[features.item]]
kind = "categorical"
name = "colour"
[[features.context]]
kind = "since_last"
name = "pause"
[towers]
dim = 16
expansion = 2
[training]
epochs = 2
validate_every = 1
min_batches = 5
threads = 1
"""
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_tiny(tmp_path)
    make_workspace(tmp_path, SETTINGS)
    return tmp_path


def test_a_version_is_trained_measured_registered_and_found_again(root: Path) -> None:
    workspace = Workspace.open(root)
    outcome = train_version(workspace, show=False)
    row = outcome.version
    assert (str(row.id), row.state, outcome.found) == ("demo@1", "ready", False)
    assert outcome.report is not None
    assert row.metrics["hr@10"] == outcome.report.metrics["hr@10"]
    folder = workspace.store().open_artifact(row.key, kind="model_version", digest=row.digest)
    facts = read_manifest(folder).facts
    assert facts["settings"]["towers"]["dim"] == 16
    assert (facts["seed"], facts["inputs_hash"], facts["space_id"]) == (1, row.inputs_hash, row.space_id)
    assert facts["code_version"].startswith("0.")
    assert facts["settings"]["training"]["precision"] == "auto"
    assert facts["training"]["device"] in {"cpu", "cuda"}
    assert facts["training"]["precision"] in {"float32", "bf16"}
    assert {"metrics.jsonl", "curves.png"} <= {path.name for path in folder.iterdir()}
    assert not list((root / RUNS / "demo").iterdir())

    again = train_version(Workspace.open(root), show=False)
    assert again.found
    assert again.version == row
    forced = train_version(workspace, force=True, show=False)
    assert str(forced.version.id) == "demo@2"
    assert forced.version.space_id == row.space_id  # the same inputs: the same weights


def test_the_served_version_measures_what_training_measured(root: Path) -> None:
    workspace = Workspace.open(root)
    outcome = train_version(workspace, show=False)
    served = evaluate_version(workspace, ModelVersion("demo", 1), show=False)
    assert served.metrics["mrr"] == pytest.approx(outcome.version.metrics["mrr"], abs=0.005)


def test_what_decides_a_version_is_in_its_address(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bf16_units = torch.cpu._is_amx_tile_supported()

    def address(*overrides: str) -> str:
        workspace = Workspace.open(root, overrides)
        dataset = open_dataset(workspace.settings.data, root, show=False)
        return version_inputs_hash(workspace.settings, dataset, make_split(workspace.settings.data, dataset.histories))

    plain = address()
    assert address() == plain
    assert address("training.threads=2", "training.device=cpu", "index.shards=7") == plain
    with monkeypatch.context() as patch:  # of another machine, too
        patch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: not bf16_units)
        assert address() == plain
    for change in (
        "training.seed=2",
        "training.precision=bf16",
        "training.epochs=3",
        "training.refit=true",
        "towers.dim=32",
        "features.history.length=9",
        "data.split.method=time",
        "data.positive_actions=['save']",
    ):
        assert address(change) != plain
    write_tiny(root, seed=1)
    assert address() != plain


def test_an_interrupted_run_goes_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace.open(root)
    with monkeypatch.context() as patch:
        patch.setattr(training, "evaluate_vectors", _fail)
        with pytest.raises(RuntimeError, match="pulled"):
            train_version(workspace, show=False)
    resumed = train_version(workspace, show=False)
    assert resumed.run is not None
    assert resumed.run.resumed_at == resumed.run.steps
    assert str(resumed.version.id) == "demo@1"


def test_a_refit_learns_from_what_validation_had_held_out_for_as_long_as_it_found_best(root: Path) -> None:
    workspace = Workspace.open(root, ["training.refit=true"])
    outcome = train_version(workspace, show=False)
    facts = read_manifest(workspace.store().open_artifact(outcome.version.key, kind="model_version")).facts
    settings, dataset = workspace.settings, workspace.dataset(show=False)
    split = workspace.split(dataset)
    plain = Training(settings, dataset, split, fit_read(settings.features, dataset, split, settings.training))
    chosen = plain.train(root / "plain", show=False)
    assert facts["training"]["refit"] is True
    assert (facts["validation"], facts["training"]["best_epoch"]) == (chosen.metrics, chosen.best_epoch)

    wider = through_validation(split, dataset.histories)
    config = settings.training.model_copy(update={"epochs": chosen.best_epoch})
    features = fit_read(settings.features, dataset, wider, config)
    expected = train(dataset, wider, features, settings.towers, config, run_dir=root / "wider", show=False)
    expected.pair.item.unknown_scale.copy_(chosen.pair.item.unknown_scale)
    assert facts["space_id"] == space_id(expected.pair, features)
    assert facts["training"]["examples"] == chosen.examples + expected.examples
    measured = evaluate_version(workspace, outcome.version.id, show=False)
    assert measured.metrics["mrr"] == pytest.approx(outcome.version.metrics["mrr"], abs=0.005)
    assert outcome.report is not None
    assert measured.baselines == outcome.report.baselines  # they learn from the same events, too
    # whatever the settings say by now
    without = evaluate_version(Workspace.open(root), outcome.version.id, show=False)
    assert without.baselines == outcome.report.baselines


def test_baselines_beside_a_version_without_refit_learn_no_more_than_it_did(root: Path) -> None:
    outcome = train_version(Workspace.open(root), show=False)
    assert outcome.report is not None
    asked_now = Workspace.open(root, ["training.refit=true"])
    assert evaluate_version(asked_now, outcome.version.id, show=False).baselines == outcome.report.baselines


def test_an_interrupted_refit_goes_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace.open(root, ["training.refit=true"])
    with monkeypatch.context() as patch:
        patch.setattr(training, "evaluate_vectors", _fail)
        with pytest.raises(RuntimeError, match="pulled"):
            train_version(workspace, show=False)
    resumed = train_version(workspace, show=False)
    assert resumed.run is not None
    assert resumed.run.resumed_at == resumed.run.steps


def test_a_version_published_but_not_registered_is_registered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace.open(root)
    with monkeypatch.context() as patch:
        patch.setattr(training, "_published", _fail)
        with pytest.raises(RuntimeError, match="pulled"):
            train_version(workspace, show=False)
    again = train_version(workspace, show=False)
    assert (str(again.version.id), again.version.state, again.found) == ("demo@1", "ready", True)


def _another_order(vectors: Vectors) -> Vectors:
    return np.roll(vectors, 1, axis=1)


def _no_numbers(vectors: Vectors) -> Vectors:
    """The vectors of all users but the first of several."""
    return np.where(np.arange(len(vectors))[:, None] > 0, np.float32(np.nan), vectors)


@pytest.mark.parametrize("wrong", [_another_order, _no_numbers])
def test_an_export_that_differs_from_what_was_trained_is_not_published(
    root: Path, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Vectors], Vectors]
) -> None:
    workspace = Workspace.open(root)
    embed = UserTower.embed
    monkeypatch.setattr(UserTower, "embed", lambda self, inputs: wrong(embed(self, inputs)))
    with pytest.raises(GateError, match="differs from the trained one"):
        train_version(workspace, show=False)
    assert not workspace.store().exists("models/demo/1")
    assert not list((root / "store" / ".staging").iterdir())


def test_wrong_metric_and_events_that_are_not_there(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.select"):
        train_version(Workspace.open(root, ["training.select=accuracy"]), show=False)
    (root / "data" / "events.parquet").unlink()
    with pytest.raises(DataError, match="events"):
        train_version(Workspace.open(root), show=False)


def test_the_command(root: Path) -> None:
    runner = CliRunner()
    first = runner.invoke(build_app(), ["train", "-w", str(root), "--json", "--set", "training.epochs=1"])
    assert first.exit_code == 0, first.output
    made = json.loads(first.stdout)
    assert (made["version"], made["found"], made["epochs"]) == ("demo@1", False, 1)
    again = runner.invoke(build_app(), ["train", "-w", str(root), "--set", "training.epochs=1"])
    assert "demo@1 was made from the same inputs" in " ".join(again.output.split())
    assert "Example" in runner.invoke(build_app(), ["train", "--help"]).output


def _fail(*_: object, **__: object) -> None:
    raise RuntimeError("the plug was pulled")
