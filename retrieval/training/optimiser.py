"""AdamW with warm-up and cosine decay."""

from __future__ import annotations

import math

import torch
from torch import nn

from retrieval.training.config import TrainingConfig


def make_optimiser(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW; matrices decay, biases, norms, embeddings' special rows and the temperature don't."""
    weights = dict(model.named_parameters())
    matrices, others = _grouped(model)
    groups = [
        {"params": [weights[name] for name in matrices], "weight_decay": config.weight_decay},
        {"params": [weights[name] for name in others], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), fused=True)


def optimiser_order(model: nn.Module) -> list[str]:
    """Names of the trained weights in the order in which the optimiser numbers them."""
    matrices, others = _grouped(model)
    return [*matrices, *others]


def _grouped(model: nn.Module) -> tuple[list[str], list[str]]:
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    matrices = [name for name, weight in trained.items() if weight.dim() > 1]
    return matrices, [name for name in trained if name not in set(matrices)]


def rate_at(progress: float, config: TrainingConfig) -> float:
    """Learning rate at a share 0 … 1 of the whole training: linear warm-up, then a cosine down to `final_rate`."""
    if progress < config.warmup:
        return config.learning_rate * progress / config.warmup
    done = (progress - config.warmup) / max(1.0 - config.warmup, 1e-9)
    share = config.final_rate + (1.0 - config.final_rate) * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
    return config.learning_rate * share


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter the same rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate
