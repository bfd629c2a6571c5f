from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from retrieval.towers import attention
from retrieval.towers.attention import Bias, causal_attention, last_attention


def inputs(length: int) -> list[torch.Tensor]:
    torch.manual_seed(length)
    return [torch.randn(2, 3, length, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]


@pytest.mark.parametrize("length", [1, 2, 7, 40])
def test_it_is_softmax_attention_with_the_same_gradients(length: int) -> None:
    q, k, v = inputs(length)
    have, want = causal_attention(q, k, v), scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(have, want, rtol=0, atol=1e-12)
    pull = torch.randn_like(want)
    for a, b in zip(
        torch.autograd.grad(have, (q, k, v), pull), torch.autograd.grad(want, (q, k, v), pull), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def slow(q: Tensor, k: Tensor, v: Tensor, bias: Bias, *, pointwise: bool) -> Tensor:
    """One query at a time, in so many words."""
    assert bias.position is not None
    assert bias.times is not None
    assert bias.buckets is not None
    mixed = torch.zeros_like(q)
    rows = []
    for b, h, i in product(*map(range, q.shape[:3])):
        scores = torch.stack(
            [
                q[b, h, i] @ k[b, h, j] / q.shape[-1] ** 0.5
                + bias.position[h, i, j]
                + bias.times[int(bias.buckets[b, i, j]), h]
                for j in range(i + 1)
            ]
        )
        shares = scores * torch.sigmoid(scores) / (i + 1) if pointwise else torch.exp(scores) / torch.exp(scores).sum()
        rows.append(shares @ v[b, h, : i + 1])
    return torch.stack(rows).view(mixed.shape)


@pytest.mark.parametrize("pointwise", [False, True])
@pytest.mark.parametrize("trained", [False, True])
def test_with_a_bias_it_is_the_formula_with_the_same_gradients(*, pointwise: bool, trained: bool) -> None:
    q, k, v = inputs(5)
    position = torch.randn(3, 5, 5, dtype=torch.float64, requires_grad=True)
    times = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    bias = Bias(position, times, torch.randint(0, 7, (2, 5, 5), dtype=torch.int32))
    wanted = (q, k, v, position, times)
    want = slow(q, k, v, bias, pointwise=pointwise)
    if not trained:
        with torch.no_grad():
            torch.testing.assert_close(causal_attention(q, k, v, bias, pointwise=pointwise), want, rtol=0, atol=1e-12)
        return
    have = causal_attention(q, k, v, bias, pointwise=pointwise)
    torch.testing.assert_close(have, want, rtol=0, atol=1e-12)
    pull = torch.randn_like(want)
    for a, b in zip(torch.autograd.grad(have, wanted, pull), torch.autograd.grad(want, wanted, pull), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pointwise", [False, True])
def test_one_query_gets_what_the_last_position_gets(*, pointwise: bool) -> None:
    q, k, v = (part.detach() for part in inputs(5))
    bias = Bias(
        torch.randn(3, 5, 5, dtype=torch.float64),
        torch.randn(7, 3, dtype=torch.float64),
        torch.randint(0, 7, (2, 5, 5)),
    )
    assert bias.position is not None
    assert bias.buckets is not None
    lengths = torch.tensor([2, 5])
    at = lengths - 1
    row = Bias(bias.position[:, at], bias.times, bias.buckets[torch.arange(2), at])
    want = slow(q, k, v, bias, pointwise=pointwise)[torch.arange(2), :, at]
    have = last_attention(q[torch.arange(2), :, at][:, :, None], k, v, lengths, row, pointwise=pointwise)
    torch.testing.assert_close(have[:, :, 0], want, rtol=0, atol=1e-12)


def test_strided_inputs_are_fine() -> None:
    joined = torch.randn(2, 5, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    q, k, v = joined.permute(2, 0, 3, 1, 4)
    causal_attention(q, k, v).sum().backward()  # type: ignore[no-untyped-call]
    assert joined.grad is not None
    assert torch.isfinite(joined.grad).all()


def test_long_histories_go_to_the_kernel_that_needs_no_square(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = inputs(6)
    want = causal_attention(q, k, v)
    monkeypatch.setattr(attention, "_LONGEST", 5)
    torch.testing.assert_close(causal_attention(q, k, v), want, rtol=0, atol=1e-12)
