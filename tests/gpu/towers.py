"""Towers and one training step, forward and backward, against the CPU's float32: every encoder, in float32 and bf16.

Training goes another way than serving: through all positions, and on CUDA through kernels of its own. Both are looked
at: served vectors of users and items, and the loss of a batch with the gradient of every weight.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from retrieval.towers.encoders import ENCODERS
from retrieval.towers.offline import item_inputs
from retrieval.training.epoch import plan_epoch
from retrieval.training.machine import matrix_precision
from retrieval.training.run import Run
from retrieval.training.vectors import PairVectors
from tests.gpu.report import Recorder
from tests.gpu.sections import Place
from tests.gpu.world import World, apart, gradients, make_world, settings, towers

# relative to the CPU's float32, of vectors, the loss, and the gradient of all weights as one vector
_BOUNDS = {"float32": (1e-4, 1e-4, 1e-3), "bf16": (2e-2, 1e-2, 1e-1)}
_SEVERAL = 4  # times so much of the gradient where another of several interests may be the nearest


def run(record: Recorder, place: Place) -> None:
    """Every encoder with and without time, and several interests."""
    with tempfile.TemporaryDirectory() as folder:
        for timed in (True, False):
            sizes = (60, 40, 20, 12) if place.small else (400, 2000, 120, 100)
            users, items, events, length = sizes
            root = Path(folder) / f"time-{timed}"
            world = make_world(root, users=users, items=items, events=events, length=length, time=timed)
            for encoder in ENCODERS.named:
                if not timed and encoder == "mean":
                    continue  # blind to time
                for interests in (1, 3) if timed and encoder == "hstu" else (1,):
                    _compare(record, place, world, root, encoder, interests, timed=timed)


def _compare(
    record: Recorder, place: Place, world: World, root: Path, encoder: str, interests: int, *, timed: bool
) -> None:
    name = encoder + (f", {interests} interests" if interests > 1 else "") + ("" if timed else ", no time")
    want = _results(world, torch.device("cpu"), "float32", encoder, interests, root, small=place.small)
    for precision, (of_vectors, of_loss, of_gradient) in _BOUNDS.items():
        with record.check(f"{name}, {precision}") as figures:
            have = _results(world, place.device, precision, encoder, interests, root, small=place.small)
            figures.at_most("users", apart(have["users"], want["users"]), of_vectors)
            figures.at_most("items", apart(have["items"], want["items"]), of_vectors)
            figures.at_most("loss", apart(have["loss"], want["loss"]), of_loss)
            figures.at_most(
                "gradient", apart(have["gradient"], want["gradient"]), of_gradient * (_SEVERAL if interests > 1 else 1)
            )


def _results(
    world: World, device: torch.device, precision: str, encoder: str, interests: int, root: Path, *, small: bool
) -> dict[str, torch.Tensor]:
    """Served vectors of users and items, a batch's loss, and the gradient of all weights."""
    config = settings(device, small=small, precision=precision)
    shape = towers(encoder, small=small).model_copy(update={"interests": interests})
    run = world.run(shape, config, device, root / "run")
    _spread(run)
    found = {}
    with matrix_precision(config, device):
        inputs = item_inputs(world.dataset, world.features, world.dataset.histories.last_us)
        vectors = PairVectors(world.dataset, world.features, inputs)
        ends = world.dataset.histories.offsets[1:] - 1
        run.pair.eval()
        found["users"] = torch.from_numpy(vectors.users(run.pair, np.unique(ends[ends > 0])[:256]))
        found["items"] = torch.from_numpy(vectors.items(run.pair))
        run.pair.train()
        windows, steps = plan_epoch(run, 0)
        loss = run.objective(run.pair, run.reader.read(windows, steps[0][0]), np.random.default_rng(0))
        loss.backward()
    return {**found, "loss": loss, "gradient": gradients(run.pair)}


def _spread(run: Run) -> None:
    """Weights far from their start, where most layers do nearly nothing and would hide what they do wrongly."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in run.pair.parameters():
            if weight.dim() > 0:
                noise = torch.randn(weight.shape, generator=generator) * 0.1
                weight.add_(noise.to(weight.device))
