"""The loss against slow, obvious references in float64."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from retrieval.training.losses.comparison import Comparison
from retrieval.training.losses.sampled_softmax import sampled_softmax
from retrieval.training.negatives.mixed import Candidates, all_items, mix
from retrieval.training.negatives.uniform import Uniform
from retrieval.training.popularity.counts import Counts

N, D, P = 30, 6, 40


@pytest.fixture
def world() -> tuple[Tensor, Tensor, np.ndarray, np.ndarray]:
    """users [P, D], items [N, D], targets [P], and skewed counts [N] of the targets."""
    generator = torch.Generator().manual_seed(5)
    users = torch.randn(P, D, generator=generator, dtype=torch.float64)
    items = torch.randn(N, D, generator=generator, dtype=torch.float64)
    counts = np.maximum(1, (200 / np.arange(1, N + 1) ** 1.2).astype(np.int64))
    targets = np.random.default_rng(0).choice(N, P, p=counts / counts.sum())
    return users, items, targets, counts


def reference(users: Tensor, items: Tensor, targets: np.ndarray) -> Tensor:
    """Mean full-softmax loss, written out."""
    total = torch.zeros((), dtype=torch.float64)
    for user, target in zip(users, targets, strict=True):
        scores = torch.stack([user @ item for item in items])
        total = total - scores[target] + torch.log(torch.exp(scores).sum())
    return total / len(targets)


def sampled(users: Tensor, items: Tensor, targets: np.ndarray, candidates: Candidates) -> Tensor:
    """Mean sampled loss with these candidates."""
    own = items[torch.from_numpy(targets)]
    return softmax(
        users,
        items[torch.from_numpy(candidates.items)],
        torch.from_numpy(candidates.bias).double(),
        (users * own).sum(1),
        torch.from_numpy(candidates.position_of(targets)),
        torch.full((len(targets),), 1 / len(targets), dtype=torch.float64),
    )


def softmax(users: Tensor, negatives: Tensor, bias: Tensor, positives: Tensor, hits: Tensor, weights: Tensor) -> Tensor:
    """The loss of these; what only other losses look at is left empty."""
    nothing = torch.zeros_like(positives)
    return sampled_softmax(
        Comparison(users, negatives, bias, positives, hits, weights, nothing, nothing, draws=0, items=0, corrected=True)
    )


def gradient(loss: Tensor, users: Tensor, items: Tensor) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, [users, items])])


def test_all_items_with_probability_one_are_the_full_softmax(world: tuple) -> None:
    users, items, targets, counts = world
    users.requires_grad_()
    items.requires_grad_()
    want = reference(users, items, targets)
    uniform = mix([Uniform(Counts(counts), N)], targets, np.random.default_rng(0), corrected=True)
    for candidates in (all_items(Counts(counts).seen), uniform):
        have = sampled(users, items, targets, candidates)
        torch.testing.assert_close(have, want, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(
            gradient(have, users, items), gradient(reference(users, items, targets), users, items)
        )


def test_gradients_are_right_with_hits_bias_and_weights() -> None:
    torch.manual_seed(1)
    users, negatives = torch.randn(7, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    positives, bias = torch.randn(7, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    hits, weights = torch.tensor([-1, 2, 0, -1, 4, 2, -1]), torch.rand(7, dtype=torch.float64)
    inputs = (users.requires_grad_(), negatives.requires_grad_(), positives.requires_grad_())

    def loss(u: Tensor, v: Tensor, p: Tensor) -> Tensor:
        return softmax(u, v, bias, p, hits, weights)

    assert torch.autograd.gradcheck(loss, inputs)


def test_chunks_do_not_change_the_result(world: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    users, items, targets, counts = world
    want = sampled(users, items, targets, all_items(Counts(counts).seen))
    monkeypatch.setattr(sys.modules[sampled_softmax.__module__], "_CHUNK_ELEMENTS", 3 * (N + 1))
    torch.testing.assert_close(sampled(users, items, targets, all_items(Counts(counts).seen)), want, rtol=1e-12, atol=0)


def test_one_negative_written_out() -> None:
    users = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    negative, bias = torch.tensor([[0.5, 9.0]], dtype=torch.float64), torch.tensor([0.7], dtype=torch.float64)
    loss = softmax(
        users, negative, bias, torch.tensor([1.5], dtype=torch.float64), torch.tensor([-1]), torch.ones(1).double()
    )
    assert float(loss) == pytest.approx(math.log(1 + math.exp(1.0 + 0.7 - 1.5)), abs=1e-12)


def test_negatives_that_are_all_accidental_hits_add_nothing() -> None:
    users = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    negatives = torch.randn(1, 2, dtype=torch.float64, requires_grad=True)
    positives = torch.randn(3, dtype=torch.float64, requires_grad=True)
    hits, weights = torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.float64)
    loss = softmax(users, negatives, torch.zeros(1, dtype=torch.float64), positives, hits, weights)
    assert float(loss.detach()) == 0.0
    assert all(float(g.abs().max()) == 0 for g in torch.autograd.grad(loss, [users, negatives, positives]))


def test_extreme_logits_stay_finite() -> None:
    positives = torch.tensor([-900.0, 900.0, 0.0])
    users = torch.tensor([[900.0], [-900.0], [0.0]], requires_grad=True)
    loss = softmax(users, torch.ones(2, 1), torch.zeros(2), positives, torch.tensor([-1, -1, -1]), torch.ones(3))
    assert float(loss.detach()) == pytest.approx(1800 + math.log(2) + 0 + math.log(3), rel=1e-5)
    assert torch.isfinite(torch.autograd.grad(loss, users)[0]).all()
