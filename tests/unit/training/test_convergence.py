"""The sampled gradient becomes that of the full softmax as samples grow, and only with the right correction.

Logits are kept fixed; what is random are the draws. The error is the root of the mean squared distance between a
sampled gradient and the full softmax's, as a share of the latter's norm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from retrieval.training.losses.comparison import Comparison, Loss
from retrieval.training.losses.corrected_softmax import corrected_softmax
from retrieval.training.losses.logq_softmax import logq_softmax
from retrieval.training.losses.sampled_softmax import sampled_softmax
from retrieval.training.negatives.base import NegativeSource
from retrieval.training.negatives.in_batch import InBatch
from retrieval.training.negatives.memory import Memory
from retrieval.training.negatives.mixed import Candidates, mix
from retrieval.training.negatives.uniform import Uniform
from retrieval.training.popularity.base import Popularity
from retrieval.training.popularity.counts import Counts
from retrieval.training.popularity.streaming import Streaming

N, D, P = 800, 24, 24
COUNTS = np.maximum(1, 2000 / np.arange(1, N + 1) ** 0.8).astype(np.int64)
SHARE = COUNTS / COUNTS.sum()
# the most popular positives, and rare ones
TARGETS = np.concatenate([np.arange(P // 2), N - 1 - 30 * np.arange(P // 2)])
GENERATOR = torch.Generator().manual_seed(5)
ITEMS = torch.nn.functional.normalize(torch.randn(N, D, generator=GENERATOR, dtype=torch.float64)).requires_grad_()
# users who like their targets: p⁺ is about .3, so that it matters how the positive is treated
USERS = (
    6 * ITEMS.detach()[TARGETS] + 0.6 * torch.randn(P, D, generator=GENERATOR, dtype=torch.float64)
).requires_grad_()

Change = Callable[[Candidates], Candidates]


def gradient(loss: Tensor) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, [USERS, ITEMS])])


def full() -> Tensor:
    logits = USERS @ ITEMS.t()
    return gradient(torch.nn.functional.cross_entropy(logits, torch.from_numpy(TARGETS)))


FULL = full()


def sampled(candidates: Candidates, loss: Loss) -> Tensor:
    vectors, own = ITEMS[torch.from_numpy(candidates.items)], ITEMS[torch.from_numpy(TARGETS)]
    found = loss(
        Comparison(
            users=USERS,
            negatives=vectors,
            bias=torch.from_numpy(candidates.bias).double(),
            positives=(USERS * own).sum(1),
            hits=torch.from_numpy(candidates.position_of(TARGETS)),
            weights=torch.full((P,), 1 / P, dtype=torch.float64),
            own_bias=torch.from_numpy(candidates.own_bias(TARGETS)).double(),
            others=torch.from_numpy(candidates.others(TARGETS)).double(),
            draws=candidates.draws,
            items=N,
            corrected=True,
        )
    )
    return gradient(found)


def sources(kind: str, number: int, popularity: Popularity) -> list[NegativeSource]:
    if kind == "uniform":
        return [Uniform(popularity, number)]
    if kind == "in_batch":
        return [InBatch(popularity, number)]
    if kind == "memory":
        return [Memory(popularity, number, 2 * number)]
    return [InBatch(popularity, number // 2), Uniform(popularity, number - number // 2)]


def error(
    kind: str,
    number: int,
    *,
    loss: Loss = sampled_softmax,
    change: Change | None = None,
    popularity: Popularity | None = None,
    draws: int = 24,
) -> float:
    """Of the gradients with `number` negatives; `change` may spoil the candidates."""
    rng = np.random.default_rng(number)
    drawing = sources(kind, number, popularity or Counts(COUNTS))
    off = []
    for step in range(draws + 2):
        # the targets of a batch much larger than the one that is scored, so that it doesn't limit the negatives
        candidates = mix(drawing, rng.choice(N, number, p=SHARE), rng, corrected=True)
        if step >= 2:  # the memory is full
            off.append(float((sampled(change(candidates) if change else candidates, loss) - FULL).square().sum()))
    return float(np.sqrt(np.mean(off)) / FULL.norm())


def turned(candidates: Candidates) -> Candidates:
    """With logQ added where it should be taken off."""
    draws = np.log(candidates.times)
    bias = (2 * draws - candidates.bias).astype(np.float32)
    return Candidates(candidates.items, bias, candidates.times, candidates.expected)


def uncorrected(candidates: Candidates) -> Candidates:
    return Candidates(candidates.items, np.log(candidates.times).astype(np.float32), candidates.times, None)


def slope(numbers: Sequence[int], errors: Sequence[float]) -> float:
    return float(np.polyfit(np.log(numbers), np.log(errors), 1)[0])


@pytest.mark.parametrize("kind", ["uniform", "in_batch", "memory", "mixed"])
@pytest.mark.parametrize("loss", [sampled_softmax, corrected_softmax])
def test_the_error_shrinks_with_the_root_of_the_number(kind: str, loss: Loss) -> None:
    # uniform draws don't repeat: near N they are the full softmax, and the error falls faster
    numbers = [20, 40, 80] if kind == "uniform" else [250, 1000, 4000]
    errors = [error(kind, number, loss=loss) for number in numbers]
    assert -0.6 < slope(numbers, errors) < -0.4, errors


@pytest.mark.parametrize("kind", ["in_batch", "memory", "mixed"])
@pytest.mark.parametrize("change", [turned, uncorrected])
def test_without_the_correction_or_with_its_sign_turned_it_does_not(kind: str, change: Change) -> None:
    few, many = error(kind, 1000, change=change), error(kind, 16_000, change=change, draws=4)
    right = error(kind, 16_000, draws=4)
    assert many > few, (few, many)
    assert many > 4 * right, (many, right)


def test_uniform_with_the_sign_turned_is_far_off() -> None:
    assert error("uniform", 160, change=turned) > 3 * error("uniform", 160)


def test_every_item_without_repetition_is_the_full_softmax() -> None:
    assert error("uniform", N, draws=1) < 1e-6
    assert error("uniform", N, loss=corrected_softmax, draws=1) < 1e-6


def test_logq_on_the_positive_too_does_not_converge() -> None:
    few, many = error("in_batch", 4000, loss=logq_softmax), error("in_batch", 32_000, loss=logq_softmax, draws=4)
    assert many > few
    assert many > 5 * error("in_batch", 32_000, loss=corrected_softmax, draws=4)


def test_a_streaming_estimate_corrects_as_counts_do() -> None:
    streaming = Streaming(np.arange(N), alpha=0.02, buckets=2**16, hashes=2)
    rng = np.random.default_rng(3)
    for _ in range(150):
        streaming.observe(rng.choice(N, 4000, p=SHARE))
    raw = error("in_batch", 4000, change=uncorrected)
    have = error("in_batch", 4000, popularity=streaming)
    exact = error("in_batch", 4000)
    assert have < 1.6 * exact, (have, exact)
    assert have < 0.4 * raw, (have, raw)
