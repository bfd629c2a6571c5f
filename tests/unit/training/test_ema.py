from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import swa_utils

from retrieval.training.ema import WeightMean


def test_the_mean_is_what_its_formula_says() -> None:
    model = nn.Linear(3, 2)
    mean = WeightMean(model, 0.5)
    slow = {name: weight.detach().numpy().astype(np.float64) for name, weight in model.named_parameters()}
    for step in range(1, 30):
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight))
        mean.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, weight in model.named_parameters():
            slow[name] = decay * slow[name] + (1 - decay) * weight.detach().numpy()
    for name, value in mean.state().items():
        np.testing.assert_allclose(value.numpy(), slow[name], atol=1e-5)


def test_applied_the_model_has_the_mean_and_afterwards_its_own_weights_to_the_bit() -> None:
    model = nn.Linear(3, 2)
    mean = WeightMean(model, 0.9)
    own = nn.Linear(3, 2).weight.detach().clone()
    with torch.no_grad():
        model.weight.copy_(own)
    mean.update(1)
    kept = mean.state()["weight"].clone()
    tensor = model.weight

    def fail_inside() -> None:
        with mean.applied():
            assert torch.equal(model.weight, kept)
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail_inside()
    assert model.weight is tensor
    assert torch.equal(model.weight, own)
    assert torch.equal(mean.state()["weight"], kept)


def test_a_weight_that_is_not_trained_has_no_mean() -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    assert list(WeightMean(model, 0.9).state()) == ["weight"]


def test_the_mean_is_to_the_bit_that_of_torch_s_averaged_model() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    mean = WeightMean(model, 0.9)

    def average(means: list[Tensor], weights: list[Tensor], number: Tensor) -> None:
        decay = min(0.9, (1 + int(number)) / (10 + int(number)))
        swa_utils.get_ema_multi_avg_fn(decay)(means, weights, number)

    averaged = swa_utils.AveragedModel(model, multi_avg_fn=average)  # type: ignore[arg-type]
    averaged.n_averaged.fill_(1)  # at 0 it takes the weights as they are, once
    for step in range(1, 30):
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight))
        mean.update(step)
        averaged.update_parameters(model)
    for name, value in averaged.module.named_parameters():
        assert torch.equal(mean.state()[name], value)
