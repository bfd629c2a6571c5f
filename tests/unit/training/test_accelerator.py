"""The way that a training step takes on a GPU, seen without one.

On the device `meta`, inside a mode that refuses operations on tensors of two devices, every tensor must have been
brought there, and nothing may be asked that only the computed values could answer: a GPU would be waited for. With
numbers, the same way is taken on the CPU, where autocast mixes dtypes as on CUDA.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from retrieval.data import Dataset, Split
from retrieval.features import Features, fit_features
from retrieval.towers import attention
from retrieval.towers.attention import Bias, causal_attention
from retrieval.towers.config import TowerConfig
from retrieval.towers.encoders import ENCODERS
from retrieval.towers.pair import build_pair
from retrieval.training import step as training_step
from retrieval.training.config import NegativesConfig, TrainingConfig
from retrieval.training.epoch import plan_epoch
from retrieval.training.losses import LOSSES
from retrieval.training.run import Run, TrainingInputs, prepare_run
from tests.tiny import TINY_FEATURES, TINY_TOWERS

CPU, META = torch.device("cpu"), torch.device("meta")
SMALL = {"batch_tokens": 128, "min_batches": 1, "negatives": NegativesConfig(in_batch=16, uniform=16)}
STEADY = TINY_TOWERS.model_copy(
    update={"dropout": 0.0, "id_dropout": 0.0, "history_id_dropout": 0.0, "profile_dropout": 0.0}
)


@pytest.fixture
def prepared(dataset: Dataset, split: Split, features: Features, tmp_path: Path):  # type: ignore[no-untyped-def]
    def make(towers: TowerConfig, device: torch.device, fitted: Features = features, **changes: object) -> Run:
        config = TrainingConfig.model_validate({**SMALL, **changes})
        return prepare_run(TrainingInputs(dataset, split, fitted, towers, config, tmp_path), device)

    return make


def first_loss(run: Run) -> Tensor:
    windows, steps = plan_epoch(run, 0)
    run.pair.train()
    return run.objective(run.pair, run.reader.read(windows, steps[0][0]), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("encoder", "loss", "interests"),
    [*((name, "sampled_softmax", 1) for name in ENCODERS.named), *(("mean", name, 3) for name in LOSSES.named)],
)
def test_all_that_a_step_touches_is_on_its_device(prepared, encoder: str, loss: str, interests: int) -> None:  # type: ignore[no-untyped-def]
    towers = TINY_TOWERS.model_copy(update={"encoder": encoder, "interests": interests})
    run = prepared(towers, META, loss=loss)
    with FakeTensorMode(allow_non_fake_inputs=True):
        value = first_loss(run)
        value.backward()
        assert value.device == META
        assert {weight.grad.device for weight in run.trained if weight.grad is not None} == {META}


@pytest.mark.parametrize("changes", [{"older": 8}, {"time": False}])
def test_so_is_what_other_histories_need(
    prepared,  # type: ignore[no-untyped-def]
    dataset: Dataset,
    split: Split,
    changes: dict[str, object],
) -> None:
    history = type(TINY_FEATURES.history).model_validate({**TINY_FEATURES.history.model_dump(), "length": 6, **changes})
    fitted = fit_features(TINY_FEATURES.model_copy(update={"history": history}), dataset, split)
    run = prepared(TINY_TOWERS.model_copy(update={"encoder": "transformer"}), META, fitted)
    with FakeTensorMode(allow_non_fake_inputs=True):
        first_loss(run).backward()


@pytest.mark.parametrize("time", [True, False])
@pytest.mark.parametrize("encoder", ENCODERS.named)
def test_the_gpus_way_gives_the_cpus_loss_and_gradients(
    prepared,  # type: ignore[no-untyped-def]
    dataset: Dataset,
    split: Split,
    monkeypatch: pytest.MonkeyPatch,
    encoder: str,
    *,
    time: bool,
) -> None:
    history = TINY_FEATURES.history.model_copy(update={"time": time})
    fitted = fit_features(TINY_FEATURES.model_copy(update={"history": history}), dataset, split)

    def results() -> tuple[float, Tensor]:
        run = prepared(STEADY.model_copy(update={"encoder": encoder}), CPU, fitted, precision="float32")
        with torch.no_grad():
            for weight in run.pair.parameters():  # away from the start, at which most layers do nearly nothing
                weight.add_(torch.linspace(-0.2, 0.2, weight.numel()).view(weight.shape) if weight.dim() else 0.0)
        value = first_loss(run)
        value.backward()
        return float(value.detach()), torch.cat([w.grad.reshape(-1) for w in run.trained if w.grad is not None])

    loss, gradient = results()
    monkeypatch.setattr(attention, "_on_cpu", lambda _: False)
    same_loss, same_gradient = results()
    assert same_loss == pytest.approx(loss, rel=1e-5)
    assert float((same_gradient - gradient).norm() / gradient.norm()) < 1e-4
    monkeypatch.setattr(training_step, "tower_precision", lambda *_: torch.autocast("cpu", torch.bfloat16))
    coarse_loss, coarse_gradient = results()
    assert coarse_loss != loss
    assert coarse_loss == pytest.approx(loss, rel=1e-2)
    assert float((coarse_gradient - gradient).norm() / gradient.norm()) < 0.1


def test_positions_are_counted_exactly_in_bf16() -> None:
    """bf16 knows no 257. Equal keys and values make every position's pointwise mixture the same number."""
    q, k = (torch.full((1, 1, 300, 2), value) for value in (1.0, 2.0))
    later = torch.ones(300, 300).triu(1).bool()
    bias = Bias(torch.tensor([[0.0, -1e9]]), torch.zeros(1, 300, 300, dtype=torch.int32).masked_fill(later, 1))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = causal_attention(q.bfloat16(), k.bfloat16(), torch.ones_like(q), bias, pointwise=True)
        shares = [1 / float(mixed[0, 0, at, 0]) for at in (255, 256)]
    assert shares[0] == pytest.approx(shares[1], rel=1e-4)


def test_fresh_towers_leave_the_generators_of_gpus_alone(monkeypatch: pytest.MonkeyPatch, features: Features) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    build_pair(TINY_TOWERS, features, seed=3)
    assert seeded == []
