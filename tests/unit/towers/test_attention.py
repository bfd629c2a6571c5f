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
    rows = []
    for b, h, i in product(*map(range, q.shape[:3])):
        row = bias.index[min(b, len(bias.index) - 1), i]
        scores = torch.stack(
            [q[b, h, i] @ k[b, h, j] / q.shape[-1] ** 0.5 + bias.table[h, int(row[j])] for j in range(i + 1)]
        )
        shares = scores * torch.sigmoid(scores) / (i + 1) if pointwise else torch.exp(scores) / torch.exp(scores).sum()
        rows.append(shares @ v[b, h, : i + 1])
    return torch.stack(rows).view(q.shape)


def some_bias(rows: int, length: int) -> Bias:
    """A table of 7 entries and the far one, at which keys after the query point."""
    values = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    table = torch.cat([values, torch.full((3, 1), -1e9, dtype=torch.float64)], 1)
    later = torch.ones(length, length, dtype=torch.bool).triu(1)
    return Bias(table, torch.randint(0, 7, (rows, length, length), dtype=torch.int32).masked_fill(later, 7))


@pytest.mark.parametrize("block_scores", [1, 1 << 19])
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("pointwise", [False, True])
@pytest.mark.parametrize("trained", [False, True])
def test_with_a_bias_it_is_the_formula_with_the_same_gradients(
    monkeypatch: pytest.MonkeyPatch, *, block_scores: int, rows: int, pointwise: bool, trained: bool
) -> None:
    monkeypatch.setattr(attention, "_BLOCK_SCORES", block_scores)
    monkeypatch.setattr(attention, "_SMALLEST_BLOCK", 2)
    q, k, v = inputs(5)
    bias = some_bias(rows, 5)
    want = slow(q, k, v, bias, pointwise=pointwise)
    if not trained:
        with torch.no_grad():
            torch.testing.assert_close(causal_attention(q, k, v, bias, pointwise=pointwise), want, rtol=0, atol=1e-12)
        return
    have = causal_attention(q, k, v, bias, pointwise=pointwise)
    torch.testing.assert_close(have, want, rtol=0, atol=1e-12)
    pull, wanted = torch.randn_like(want), (q, k, v, bias.table)
    of_have = torch.autograd.grad(have, wanted, pull, retain_graph=True)
    for a, b in zip(of_have, torch.autograd.grad(want, wanted, pull), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pointwise", [False, True])
def test_one_query_gets_what_the_last_position_gets(*, pointwise: bool) -> None:
    q, k, v = (part.detach() for part in inputs(5))
    bias = some_bias(2, 5)
    lengths = torch.tensor([2, 5])
    at, every = lengths - 1, torch.arange(2)
    want = slow(q, k, v, bias, pointwise=pointwise)[every, :, at]
    row = Bias(bias.table, bias.index[every, at])
    have = last_attention(q[every, :, at][:, :, None], k, v, lengths, row, pointwise=pointwise)
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
