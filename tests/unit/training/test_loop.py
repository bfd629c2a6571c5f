from __future__ import annotations

import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from retrieval.data import Dataset, Split, leave_one_out
from retrieval.errors import ConfigError, DataError, DivergedError
from retrieval.features import Features, fit_features
from retrieval.storage import ArtifactStore
from retrieval.towers.offline import item_inputs
from retrieval.towers.pair import TowerPair
from retrieval.training import epoch
from retrieval.training.checkpoint import BEST
from retrieval.training.config import NegativesConfig, TrainingConfig
from retrieval.training.epoch import plan_epoch as plan
from retrieval.training.export import export_version
from retrieval.training.journal import METRICS, read_journal
from retrieval.training.loop import TrainResult, train
from retrieval.training.machine import chosen_precision
from retrieval.training.optimiser import rate_at
from retrieval.types import ModelVersion
from tests.tiny import TINY_FEATURES, TINY_TOWERS, tiny_dataset

REPOSITORY = Path(__file__).resolve().parents[3]
CONFIG = TrainingConfig(
    epochs=2,
    validate_every=1,
    batch_tokens=256,
    min_batches=5,
    threads=1,
    negatives=NegativesConfig(in_batch=32, uniform=16),
)


def settings(**changes: object) -> TrainingConfig:
    return TrainingConfig.model_validate({**CONFIG.model_dump(), **changes})


def fingerprint(pair: TowerPair) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in pair.state_dict().items()}


def same(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def run(dataset: Dataset, split: Split, features: Features, tmp_path: Path):  # type: ignore[no-untyped-def]
    def start(config: TrainingConfig = CONFIG, folder: str = "run", **rest: object) -> TrainResult:
        return train(
            dataset,
            split,
            features,
            TINY_TOWERS,
            config,
            run_dir=tmp_path / folder,
            show=False,
            **rest,  # type: ignore[arg-type]
        )

    return start


def test_the_same_seed_gives_the_same_weights(run) -> None:  # type: ignore[no-untyped-def]
    first, second = run(folder="a"), run(folder="b")
    torch.rand(5)  # the global generator has no say
    assert same(fingerprint(first.pair), fingerprint(second.pair))
    other = run(settings(seed=2), folder="c")
    assert not same(fingerprint(first.pair), fingerprint(other.pair))


def test_the_loss_goes_down_and_is_written_down(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    result = run(settings(epochs=6))
    rows = read_journal(tmp_path / "run" / METRICS)
    losses = [row["loss"] for row in rows if row["kind"] == "train"]
    assert len(losses) == 6
    assert losses[-1] < losses[0] - 0.1
    assert result.curves.read_bytes().startswith(b"\x89PNG")
    assert result.examples == rows[-1]["examples"] > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "full_softmax"},
        {"windows": "last"},
        {"precision": "float32"},
        {"precision": "bf16"},
        {"negatives": NegativesConfig(in_batch=0, uniform=8)},
        {"negatives": NegativesConfig(in_batch=8, uniform=0, correction="none")},
    ],
)
def test_every_way_of_training_runs(run, changes: dict[str, object]) -> None:  # type: ignore[no-untyped-def]
    result = run(settings(epochs=1, **changes))
    assert all(torch.isfinite(value).all() for value in fingerprint(result.pair).values())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["item.id.table.weight", "log_temperature"])
def test_weights_that_are_not_finite_are_neither_measured_nor_kept_nor_exported(  # type: ignore[no-untyped-def]
    run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, features: Features, dataset: Dataset, bad: float, name: str
) -> None:
    """After the last step of an epoch no loss comes that would tell."""
    real, pairs = epoch.take_step, []

    def step(of, windows, chosen, number):  # type: ignore[no-untyped-def]
        found = real(of, windows, chosen, number)
        pairs.append(of.pair)
        with torch.no_grad():
            of.pair.get_parameter(name).view(-1)[-1:] = bad if of.progress.total_steps else 0.0
        return found

    def two_steps(*given):  # type: ignore[no-untyped-def]
        windows, steps = plan(*given)
        return windows, steps[:2]

    monkeypatch.setattr(epoch, "take_step", step)
    monkeypatch.setattr(epoch, "plan_epoch", two_steps)
    with pytest.raises(DivergedError, match=rf"epoch 1, by step 2: {name} holds"):
        run(settings(checkpoint_seconds=3600.0), validate=lambda _: pytest.fail("measured"))
    assert len(pairs) == 2
    assert not list((tmp_path / "run").glob("checkpoint-*"))

    store = ArtifactStore.create(str(tmp_path / "store"), cache=tmp_path / "cache")
    items = item_inputs(dataset, features, dataset.histories.last_us)
    with pytest.raises(DivergedError, match=rf"demo@7: {name} holds"):
        export_version(store, ModelVersion("demo", 7), pairs[0], features, items, facts={})


def test_the_precision_that_was_chosen_is_said(run, caplog: pytest.LogCaptureFixture) -> None:  # type: ignore[no-untyped-def]
    with caplog.at_level(logging.INFO, logger="retrieval"):
        result = run(settings(epochs=1, device="cpu"))
    chosen = chosen_precision(TrainingConfig(), torch.device("cpu"))
    assert (result.device, result.precision) == ("cpu", chosen)
    assert f"training in {chosen} on cpu" in caplog.text


def test_the_best_validated_weights_win_and_patience_ends(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    seen: list[dict[str, torch.Tensor]] = []

    def validate(pair: TowerPair) -> dict[str, float]:
        assert not pair.training
        seen.append(fingerprint(pair))
        return {"ndcg@10": [0.1, 0.5, 0.4, 0.3, 0.2][len(seen) - 1]}

    result = run(settings(epochs=5, patience=2), validate=validate)
    assert (result.epochs, result.best_epoch, dict(result.metrics)) == (4, 2, {"ndcg@10": 0.5})
    assert same(fingerprint(result.pair), seen[1])
    assert (tmp_path / "run" / BEST).is_dir()


def test_a_metric_that_is_not_measured_is_named(run) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=r"training\.select: no metric 'ndcg@10'.*mrr"):
        run(validate=lambda _: {"mrr": 0.1})


class _StopError(Exception):
    pass


def test_a_run_that_failed_goes_on_where_it_stopped(run) -> None:  # type: ignore[no-untyped-def]
    def size(pair: TowerPair) -> dict[str, float]:
        return {"ndcg@10": float(pair.special.abs().sum())}

    def fail(pair: TowerPair) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 2:
            raise _StopError
        return size(pair)

    calls: list[int] = []
    with pytest.raises(_StopError):
        run(settings(checkpoint_seconds=0.0), validate=fail)
    again = run(settings(checkpoint_seconds=0.0), validate=size)
    whole = run(folder="whole", validate=size)
    assert again.resumed_at > 0
    assert (again.steps, again.best_epoch, again.metrics) == (whole.steps, whole.best_epoch, whole.metrics)
    assert same(fingerprint(again.pair), fingerprint(whole.pair))


def test_other_settings_do_not_resume(run) -> None:  # type: ignore[no-untyped-def]
    run()
    assert run().resumed_at > 0
    assert run(settings(learning_rate=0.01)).resumed_at == 0


KILLED = """
import sys
from pathlib import Path
from tests.unit.training.test_loop import train_in
train_in(Path(sys.argv[1]), "killed")
"""


def train_in(root: Path, folder: str) -> TrainResult:
    """A run that depends on nothing but `root`'s data, with a checkpoint after every step."""
    dataset = tiny_dataset(root / "workspace")
    split = leave_one_out(dataset.histories)
    return train(
        dataset,
        split,
        fit_features(TINY_FEATURES, dataset, split),
        TINY_TOWERS,
        settings(epochs=3, min_batches=16, checkpoint_seconds=0.0, ema=0.95, accumulate=2),
        run_dir=root / folder,
        validate=lambda pair: {"ndcg@10": float(pair.special.abs().sum())},
        show=False,
    )


def test_a_run_killed_with_sigkill_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    whole = train_in(tmp_path, "whole")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=REPOSITORY, env=environment) as process:
        deadline = time.monotonic() + 120
        # in the middle of an epoch, or of writing a checkpoint
        while not any(int(p.name.split("-")[1]) >= 14 for p in (tmp_path / "killed").glob("checkpoint-*")):
            assert process.poll() is None, "ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    resumed = train_in(tmp_path, "killed")
    assert 14 <= resumed.resumed_at < whole.steps == resumed.steps
    assert same(fingerprint(resumed.pair), fingerprint(whole.pair))
    journals = [read_journal(tmp_path / name / METRICS) for name in ("whole", "killed")]
    assert [row["step"] for row in journals[0]] == [row["step"] for row in journals[1]]


def test_one_item_is_nothing_to_train_on(dataset: Dataset, split: Split, features: Features, tmp_path: Path) -> None:
    nothing = Split("none", np.asarray(dataset.histories.offsets[:-1]).copy(), split.valid, split.test)
    with pytest.raises(DataError, match="at least 2 different items, found 0"):
        train(dataset, nothing, features, TINY_TOWERS, CONFIG, run_dir=tmp_path, show=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(run) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=r"training\.device"):
        run(settings(device="cuda"))


def test_the_rate_warms_up_and_decays() -> None:
    config = settings(learning_rate=0.01, warmup=0.1, final_rate=0.1)
    assert rate_at(0.0, config) == 0.0
    assert rate_at(0.05, config) == pytest.approx(0.005)
    assert rate_at(0.1, config) == pytest.approx(0.01)
    assert rate_at(1.0, config) == pytest.approx(0.001)
    rates = [rate_at(p, config) for p in np.linspace(0.1, 1, 50)]
    assert rates == sorted(rates, reverse=True)


def test_with_a_mean_of_the_weights_it_is_what_counts(run) -> None:  # type: ignore[no-untyped-def]
    """Validated, kept as best, and handed on; the weights themselves go their way as without it."""
    seen: list[dict[str, torch.Tensor]] = []

    def validate(pair: TowerPair) -> dict[str, float]:
        seen.append(fingerprint(pair))
        return {"ndcg@10": float(len(seen))}

    plain = run(folder="plain")
    mean = run(settings(ema=0.9), folder="mean")
    assert not same(fingerprint(mean.pair), fingerprint(plain.pair))
    validated = run(settings(ema=0.9), folder="validated", validate=validate)
    assert same(fingerprint(validated.pair), fingerprint(mean.pair))
    assert same(fingerprint(validated.pair), seen[-1])
    state = load_file(next((validated.curves.parent).glob("checkpoint-*")) / "state.safetensors")
    weights = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    assert same(weights, fingerprint(plain.pair))
    # a finished run, asked for again
    assert same(fingerprint(run(settings(ema=0.9), folder="mean").pair), fingerprint(mean.pair))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_training(run, wrong: float, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    real, steps = epoch._loss, []

    def loss(*given: object) -> torch.Tensor:
        steps.append(given)
        return real(*given) * (wrong if len(steps) == 3 else 1.0)

    monkeypatch.setattr(epoch, "_loss", loss)
    with pytest.raises(DivergedError, match=r"epoch 1, step 3: loss (nan|inf).*training\.learning_rate"):
        run()
    assert len(steps) == 3
