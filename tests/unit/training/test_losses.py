"""Every other loss against what its paper says, written out in float64."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from retrieval.training.config import NegativesConfig, TrainingConfig
from retrieval.training.losses import LOSSES, make_loss
from retrieval.training.losses.comparison import Comparison, Loss
from retrieval.training.losses.corrected_softmax import corrected_softmax
from retrieval.training.losses.gbce import gbce
from retrieval.training.losses.logq_softmax import logq_softmax
from retrieval.training.losses.sampled_softmax import sampled_softmax
from tests.comparisons import comparison_of

P, K, D, ITEMS, DRAWS = 9, 7, 4, 20, 12


def comparison(users: Tensor, negatives: Tensor, positives: Tensor, *, corrected: bool = True) -> Comparison:
    """A batch with accidental hits, unequal weights and corrections."""
    hits = torch.tensor([-1, 2, 0, -1, 6, 2, -1, 3, -1])
    return comparison_of(users, negatives, positives, hits, items=ITEMS, draws=DRAWS, corrected=corrected)


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = ((P, D), (K, D), (P,))
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]
    return drawn[0], drawn[1], drawn[2]


def others_of(c: Comparison, p: int) -> list[int]:
    return [k for k in range(K) if k != int(c.hits[p])]


def logq_written_out(c: Comparison) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for p in range(P):
        own = c.positives[p] + c.own_bias[p]
        rest = sum(torch.exp(c.users[p] @ c.negatives[k] + c.bias[k]) for k in others_of(c, p))
        total = total + c.weights[p] * (-own + torch.log(own.exp() + rest))
    return total


def corrected_written_out(c: Comparison) -> Tensor:
    """sg(1 - p⁺)(-s⁺ + log Z), as published."""
    total = torch.zeros((), dtype=torch.float64)
    for p in range(P):
        z = c.others[p].exp() * sum(torch.exp(c.users[p] @ c.negatives[k] + c.bias[k]) for k in others_of(c, p))
        share = c.positives[p].exp() / (c.positives[p].exp() + z)
        total = total + c.weights[p] * (1 - share).detach() * (-c.positives[p] + torch.log(z))
    return total


def gbce_written_out(c: Comparison, t: float) -> Tensor:
    alpha = DRAWS / (ITEMS - 1)
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
    total = torch.zeros((), dtype=torch.float64)
    for p in range(P):
        loss = -torch.log(torch.sigmoid(c.positives[p] - math.log(ITEMS - 1)) ** beta)
        for k in others_of(c, p):
            draws = c.bias[k].exp() * (alpha if c.corrected else 1)
            loss = loss - draws * torch.log(1 - torch.sigmoid(c.users[p] @ c.negatives[k] - math.log(ITEMS - 1)))
        total = total + c.weights[p] * loss / (DRAWS + 1)
    return total


def gradients(loss: Tensor, inputs: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, inputs)])


@pytest.mark.parametrize(
    ("loss", "written_out"),
    [
        (logq_softmax, logq_written_out),
        (lambda c: gbce(c, 0.75), lambda c: gbce_written_out(c, 0.75)),
        (lambda c: gbce(c, 0.0), lambda c: gbce_written_out(c, 0.0)),
        (lambda c: gbce(c, 1.0), lambda c: gbce_written_out(c, 1.0)),
    ],
)
@pytest.mark.parametrize("corrected", [True, False])
def test_values_and_gradients_are_those_written_out(
    inputs: tuple[Tensor, Tensor, Tensor], loss: Loss, written_out: Callable[[Comparison], Tensor], corrected: bool
) -> None:
    c = comparison(*inputs, corrected=corrected)
    have, want = loss(c), written_out(c)
    torch.testing.assert_close(have, want, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients(have, inputs), gradients(want, inputs), rtol=1e-10, atol=1e-12)


def test_the_corrected_gradient_is_the_published_one(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    c = comparison(*inputs)
    have, want = corrected_softmax(c), corrected_written_out(c)
    torch.testing.assert_close(gradients(have, inputs), gradients(want, inputs), rtol=1e-10, atol=1e-12)
    # its value is what can be compared with other softmax losses: -log p⁺
    z = [
        c.others[p].exp() * sum(torch.exp(c.users[p] @ c.negatives[k] + c.bias[k]) for k in others_of(c, p))
        for p in range(P)
    ]
    value = sum(c.weights[p] * -torch.log(c.positives[p].exp() / (c.positives[p].exp() + z[p])) for p in range(P))
    torch.testing.assert_close(have, torch.as_tensor(value), rtol=1e-12, atol=1e-12)


def test_the_three_softmax_losses_differ(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    c = comparison(*inputs)
    found = [gradients(loss(c), inputs) for loss in (sampled_softmax, corrected_softmax, logq_softmax)]
    assert float((found[0] - found[1]).norm() / found[0].norm()) > 0.02
    assert float((found[0] - found[2]).norm() / found[0].norm()) > 0.02


def test_gbce_over_every_item_is_binary_cross_entropy() -> None:
    """alpha is 1 and so is beta, whatever t."""
    torch.manual_seed(0)
    users, items = torch.randn(3, D, dtype=torch.float64), torch.randn(ITEMS, D, dtype=torch.float64)
    targets, nothing = torch.tensor([0, 4, 4]), torch.zeros(3, dtype=torch.float64)
    own, weights = (users * items[targets]).sum(1), torch.full((3,), 1 / 3, dtype=torch.float64)
    bias = torch.zeros(ITEMS, dtype=torch.float64)
    c = Comparison(users, items, bias, own, targets, weights, nothing, nothing, ITEMS, ITEMS, corrected=True)
    truth = torch.nn.functional.one_hot(targets, ITEMS).double()
    want = torch.nn.functional.binary_cross_entropy_with_logits(users @ items.t() - math.log(ITEMS - 1), truth)
    for t in (0.0, 0.5, 1.0):
        torch.testing.assert_close(gbce(c, t), want, rtol=1e-12, atol=0)


def test_gbce_of_thousands_of_negatives_starts_in_balance() -> None:
    """Else the negatives turn all users away from all items before any positive counts."""
    torch.manual_seed(0)
    items = 4000
    users = torch.nn.functional.normalize(torch.randn(8, D, dtype=torch.float64), dim=1).requires_grad_()
    vectors = torch.nn.functional.normalize(torch.randn(items, D, dtype=torch.float64), dim=1)
    targets, nothing = torch.arange(8), torch.zeros(8, dtype=torch.float64)
    bias = torch.zeros(items, dtype=torch.float64)
    own = (users * vectors[:8]).sum(1)
    c = Comparison(users, vectors, bias, own, targets, nothing + 1 / 8, nothing, nothing, items, items, corrected=True)
    (pulled,) = torch.autograd.grad(gbce(c, 0.75), users)
    assert float(((-pulled) * vectors[:8]).sum(1).min()) > 0.5 / items / 8, "towards the positive, on the whole"


def test_gbce_in_chunks_is_the_same(inputs: tuple[Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    c = comparison(*inputs)
    whole = gbce(c, 0.5)
    monkeypatch.setattr(sys.modules[gbce.__module__], "_CHUNK_ELEMENTS", 2 * K)
    parts = gbce(c, 0.5)
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients(parts, inputs), gradients(whole, inputs), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", sorted(LOSSES.named))
def test_extreme_logits_and_no_negatives_stay_finite(name: str) -> None:
    loss = make_loss(TrainingConfig(loss=name))
    positives = torch.tensor([-900.0, 900.0, 0.0], requires_grad=True)
    users = torch.tensor([[900.0], [-900.0], [0.0]], requires_grad=True)
    hits, ones, nothing = torch.tensor([-1, 0, -1]), torch.ones(3), torch.zeros(3)
    for negatives in (torch.ones(1, 1), torch.ones(0, 1)):
        hits = hits if len(negatives) else torch.full((3,), -1)
        bias = torch.zeros(len(negatives))
        found = loss(Comparison(users, negatives, bias, positives, hits, ones, nothing, nothing, 1, 5, corrected=True))
        assert math.isfinite(found.item())
        assert all(torch.isfinite(g).all() for g in torch.autograd.grad(found, [users, positives]))


@pytest.mark.parametrize("loss", ["corrected_softmax", "logq_softmax"])
def test_a_correcting_loss_without_correction_is_refused(loss: str) -> None:
    with pytest.raises(ValueError, match=r'it needs negatives\.correction = "counts" or "streaming"'):
        TrainingConfig(loss=loss, negatives=NegativesConfig(correction="none"))  # type: ignore[arg-type]
