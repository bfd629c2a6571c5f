from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval.data import Dataset, Split
from retrieval.features import Features
from retrieval.training.config import NegativesConfig, TrainingConfig
from retrieval.training.epoch import plan_epoch, take_step
from retrieval.training.machine import chosen_precision, matrix_precision, tower_precision
from retrieval.training.run import Run, TrainingInputs, prepare_run
from tests.tiny import TINY_TOWERS

TOWERS = TINY_TOWERS.model_copy(
    update={"dropout": 0.0, "id_dropout": 0.0, "history_id_dropout": 0.0, "profile_dropout": 0.0}
)


@pytest.fixture
def made(dataset: Dataset, split: Split, features: Features, tmp_path: Path):  # type: ignore[no-untyped-def]
    def make(**changes: object) -> Run:
        # the full softmax draws nothing, so batches have no negatives of their own
        basis = TrainingConfig(
            loss="full_softmax", batch_tokens=300, min_batches=2, precision="float32", clip=1e9, windows="last"
        )
        config = TrainingConfig.model_validate({**basis.model_dump(), **changes})
        run = prepare_run(TrainingInputs(dataset, split, features, TOWERS, config, tmp_path), torch.device("cpu"))
        run.pair.train()
        return run

    return make


def gradients(run: Run) -> torch.Tensor:
    return torch.cat([torch.zeros(w.numel()) if w.grad is None else w.grad.flatten() for w in run.trained])


def test_a_step_over_several_batches_is_that_over_all_their_positions(made) -> None:  # type: ignore[no-untyped-def]
    """Batches of different sizes, and weights by action: not the mean of the batches' means."""
    run = made(action_weights={"click": 0.2})
    windows, _ = plan_epoch(run, 0)
    order = np.argsort(windows.lengths)
    parts = [order[:3], order[3:10], order[10:40]]
    examples, loss = take_step(run, windows, parts, 0)
    several = gradients(run)
    run = made(action_weights={"click": 0.2})
    whole, whole_loss = take_step(run, windows, [np.concatenate(parts)], 0)
    assert examples == whole
    assert loss == pytest.approx(whole_loss, rel=1e-5)
    torch.testing.assert_close(several, gradients(run), rtol=1e-3, atol=1e-6)
    run = made(action_weights={"click": 0.2})
    mean = np.mean([take_step(run, windows, [part], 0)[1] for part in parts])
    assert abs(mean - whole_loss) > 1e-3


def test_accumulation_takes_that_many_batches_to_a_step(made) -> None:  # type: ignore[no-untyped-def]
    run = made(accumulate=3, windows="all", negatives=NegativesConfig(in_batch=4, uniform=4))
    windows, steps = plan_epoch(run, 0)
    assert {len(step) for step in steps[:-1]} == {3}
    assert 1 <= len(steps[-1]) <= 3
    assert sorted(np.concatenate([batch for step in steps for batch in step])) == list(range(len(windows)))


@pytest.mark.parametrize(
    ("device", "units", "chosen"),
    [("cpu", True, "bf16"), ("cpu", False, "float32"), ("cuda", True, "bf16"), ("cuda", False, "float32")],
)
def test_precision_is_what_is_fast_on_the_device_unless_it_is_named(
    monkeypatch: pytest.MonkeyPatch, device: str, units: bool, chosen: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: units and device == "cpu")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: units and not including_emulation)
    where = torch.device(device)
    assert TrainingConfig().precision == "auto"
    assert chosen_precision(TrainingConfig(), where) == chosen
    assert chosen_precision(TrainingConfig(precision="bf16"), where) == "bf16"
    assert chosen_precision(TrainingConfig(precision="float32"), where) == "float32"
    before = torch.get_float32_matmul_precision()
    with matrix_precision(TrainingConfig(), where):
        assert torch.get_float32_matmul_precision() == ("medium" if chosen == "bf16" else "highest")
    assert torch.get_float32_matmul_precision() == before


def test_towers_are_in_bf16_on_cuda_only(monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[tuple[str, torch.dtype]] = []

    def autocast(device: str, dtype: torch.dtype) -> nullcontext[None]:
        entered.append((device, dtype))
        return nullcontext()

    monkeypatch.setattr(torch, "autocast", autocast)
    bf16, full = TrainingConfig(precision="bf16"), TrainingConfig(precision="float32")
    for config, device in ((bf16, "cpu"), (full, "cuda"), (full, "cpu")):
        with tower_precision(config, torch.device(device)):
            assert not entered
    with tower_precision(bf16, torch.device("cuda")):
        assert entered == [("cuda", torch.bfloat16)]
