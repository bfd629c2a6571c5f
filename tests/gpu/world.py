"""What the sections look at: generated logs, features fitted to them, settings, and how far results are apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from retrieval.data import Dataset, Split, leave_one_out
from retrieval.features import Features, fit_features
from retrieval.towers.config import TowerConfig
from retrieval.training.config import NegativesConfig, TrainingConfig
from retrieval.training.run import Run, TrainingInputs, prepare_run
from tests.tiny import TINY_FEATURES, tiny_dataset


@dataclass(frozen=True)
class World:
    """A log with profiles, item features and context, its split, and features fitted to it."""

    dataset: Dataset
    split: Split
    features: Features

    def run(self, towers: TowerConfig, config: TrainingConfig, device: torch.device, folder: Path) -> Run:
        """The parts of a training run on a device."""
        inputs = TrainingInputs(self.dataset, self.split, self.features, towers, config, folder)
        return prepare_run(inputs, device)


def make_world(root: Path, *, users: int, items: int, events: int, length: int, time: bool = True) -> World:
    """Histories of 2 to `events` events, read `length` at a time; without `time` attention knows nothing of it."""
    dataset = tiny_dataset(root, users=users, items=items, events=events)
    split = leave_one_out(dataset.histories)
    history = TINY_FEATURES.history.model_copy(update={"length": length, "time": time})
    spec = TINY_FEATURES.model_copy(update={"history": history})
    return World(dataset, split, fit_features(spec, dataset, split))


def towers(encoder: str, *, small: bool, dropout: float = 0.0) -> TowerConfig:
    """Towers that draw nothing at random unless told so, so that both devices compute the same."""
    return TowerConfig(
        dim=16 if small else 64,
        heads=2,
        blocks=2,
        encoder=encoder,
        dropout=dropout,
        id_dropout=dropout / 2,
        profile_dropout=dropout / 2,
    )


def settings(device: torch.device, *, small: bool, **changes: object) -> TrainingConfig:
    """Training settings of the checks, and what differs from them."""
    whole = {
        "device": device.type,
        "batch_tokens": 512 if small else 16_384,
        "min_batches": 4 if small else 24,
        "validate_every": 1,
        "negatives": NegativesConfig(in_batch=32, uniform=16) if small else NegativesConfig(in_batch=512, uniform=128),
    }
    return TrainingConfig.model_validate({**whole, **changes})


def apart(have: Tensor, want: Tensor) -> float:
    """‖have - want‖ / ‖want‖, in float64 on the CPU."""
    have, want = have.detach().cpu().double(), want.detach().cpu().double()
    return float((have - want).norm() / want.norm().clamp(min=1e-30))


def gradients(module: torch.nn.Module) -> Tensor:
    """All gradients of a module as one vector on the CPU; zeros where there is none."""
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters() if p.requires_grad]
    return torch.cat([part.detach().cpu().double().reshape(-1) for part in parts])


def unequal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> int:
    """How many of the first's weights differ, be it in one bit."""
    return sum(int((value != second[name].to(value.device)).sum()) for name, value in first.items())


def furthest(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    """The largest difference between two weights of the same name and place."""
    return max(float((value - second[name].to(value.device)).abs().max()) for name, value in first.items())
