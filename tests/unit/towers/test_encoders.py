from __future__ import annotations

import pytest
import torch

from retrieval.towers.config import TowerConfig
from retrieval.towers.encoders import ENCODERS, HistoryEncoder
from retrieval.towers.encoders.transformer import rotary_table, rotate

CONFIG = TowerConfig(dim=16, blocks=2, heads=2, expansion=2)


@pytest.fixture(params=sorted(ENCODERS))
def encoder(request: pytest.FixtureRequest) -> HistoryEncoder:
    torch.manual_seed(3)
    made = ENCODERS[request.param](CONFIG)
    return made.double().eval()  # type: ignore[attr-defined, no-any-return]


def test_every_choice_of_the_settings_has_an_encoder() -> None:
    assert set(ENCODERS) == set(TowerConfig.model_fields["encoder"].annotation.__args__)  # type: ignore[union-attr]


def test_states_do_not_depend_on_what_comes_after(encoder: HistoryEncoder) -> None:
    tokens = torch.randn(2, 9, 16, dtype=torch.float64)
    changed = tokens.clone()
    changed[:, 5:] = torch.randn(2, 4, 16, dtype=torch.float64)
    before, after = encoder(tokens), encoder(changed)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


def test_last_is_the_state_at_the_last_real_position(encoder: HistoryEncoder) -> None:
    tokens = torch.randn(4, 9, 16, dtype=torch.float64)
    lengths = torch.tensor([1, 4, 8, 9])
    expected = encoder(tokens)[torch.arange(4), lengths - 1]
    torch.testing.assert_close(encoder.last(tokens, lengths), expected, rtol=0, atol=1e-12)


def test_padding_never_reaches_a_real_position(encoder: HistoryEncoder) -> None:
    tokens = torch.randn(1, 5, 16, dtype=torch.float64)
    padded = torch.cat([tokens, torch.full((1, 3, 16), 1e3, dtype=torch.float64)], 1)
    lengths = torch.tensor([5])
    torch.testing.assert_close(encoder.last(padded, lengths), encoder.last(tokens, lengths), rtol=0, atol=1e-10)


def test_rotation_keeps_lengths_and_depends_on_distance_only() -> None:
    like = torch.zeros(1, dtype=torch.float64)
    table = rotary_table(20, 8, like)
    q, k = torch.randn(8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)
    turned = rotate(q.expand(20, 8), table)
    torch.testing.assert_close(turned.norm(dim=1), q.norm().expand(20), atol=1e-6, rtol=0)
    scores = rotate(q.expand(20, 8), table) @ rotate(k.expand(20, 8), table).T
    torch.testing.assert_close(scores[2, 5], scores[12, 15], atol=1e-5, rtol=0)


def test_an_odd_head_width_is_refused() -> None:
    with pytest.raises(ValueError, match="even whole number"):
        TowerConfig(dim=10, heads=2)
