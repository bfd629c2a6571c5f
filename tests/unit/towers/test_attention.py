from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from retrieval.towers import attention
from retrieval.towers.attention import causal_attention


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
