"""Every loss, value and gradients, against the CPU's float64: with hits, in chunks, for one and more interests."""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from torch import Tensor

from retrieval.training.config import TrainingConfig
from retrieval.training.losses import LOSSES, make_loss
from retrieval.training.losses.comparison import Comparison
from retrieval.training.machine import matrix_precision
from tests.gpu.report import Recorder
from tests.gpu.sections import Place
from tests.gpu.world import apart

# Of value and gradients; bf16 allows the coarser products of `matrix_precision`. Of several interests another may be
# the nearest where two are nearly as near, and learn in its place.
_BOUNDS = {1: {"float32": 1e-5, "bf16": 2e-2}, 4: {"float32": 1e-3, "bf16": 0.2}}
# positions and negatives; of one interest more scores than a GPU takes at once
_SIZES = {1: (24_000, 3000), 4: (2500, 2000)}


def run(record: Recorder, place: Place) -> None:
    """Each loss in both precisions of products."""
    for interests, bounds in _BOUNDS.items():
        given = comparison(interests, small=place.small)
        for name in LOSSES.named:
            loss = make_loss(TrainingConfig(loss=name))
            want = _results(loss, _as(given, torch.device("cpu"), torch.float64))
            for precision, bound in bounds.items():
                with record.check(f"{name}, {interests} interests, {precision}") as figures:
                    config = TrainingConfig(precision=precision)
                    with matrix_precision(config, place.device):
                        have = _results(loss, _as(given, place.device, torch.float32))
                    for part in want:
                        figures.at_most(part, apart(have[part], want[part]), bound)


def comparison(interests: int, *, small: bool) -> Comparison:
    """Random unit vectors at a temperature; every fifth position's target is among the negatives."""
    P, K = (60, 50) if small else _SIZES[interests]
    D = 8 if small else 64
    generator = torch.Generator().manual_seed(interests)

    def units(*shape: int) -> Tensor:
        drawn = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return torch.nn.functional.normalize(drawn, dim=-1)

    users = units(P, D) if interests == 1 else units(P, interests, D)
    users, negatives, own = users / 0.07, units(K, D), units(P, D)
    positives = (users * (own if interests == 1 else own[:, None])).sum(-1)
    weights = torch.rand(P, generator=generator, dtype=torch.float64)
    chosen = torch.randint(0, K, (P,), generator=generator)
    return Comparison(
        users=users,
        negatives=negatives,
        bias=torch.randn(K, generator=generator, dtype=torch.float64) * 0.5 + 1.0,
        positives=positives if interests == 1 else positives.amax(1),
        hits=torch.where(torch.arange(P) % 5 == 0, chosen, -1),
        weights=weights / weights.sum(),
        own_bias=torch.randn(P, generator=generator, dtype=torch.float64) * 0.1,
        others=torch.randn(P, generator=generator, dtype=torch.float64) * 0.01,
        draws=2 * K,
        items=10 * K,
        corrected=True,
    )


def _as(given: Comparison, device: torch.device, dtype: torch.dtype) -> Comparison:
    moved = {}
    for name in (part.name for part in fields(Comparison)):
        value = getattr(given, name)
        if isinstance(value, Tensor):
            moved[name] = value.to(device, dtype if value.is_floating_point() else value.dtype)
    return replace(given, **moved)


def _results(loss, given: Comparison) -> dict[str, Tensor]:  # type: ignore[no-untyped-def]
    learned = [given.users, given.negatives, given.positives]
    for part in learned:
        part.requires_grad_()
    value = loss(given)
    parts = torch.autograd.grad(value, learned)
    return {"value": value, **dict(zip(("users", "negatives", "positives"), parts, strict=True))}
