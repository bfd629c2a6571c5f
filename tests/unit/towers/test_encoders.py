from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from retrieval.towers.config import TowerConfig
from retrieval.towers.encoders import ATTENTION, ENCODERS
from retrieval.towers.encoders.base import HistoryEncoder
from retrieval.towers.encoders.bias import position_buckets, time_buckets
from retrieval.towers.encoders.transformer import rotary_table, rotate

CONFIG = TowerConfig(dim=16, blocks=2, heads=2, expansion=2)


CLOCKED = [f"{name}-{clock}" for name in sorted(ENCODERS.named) for clock in ("clock", "no-clock")]
DAY = 86_400_000_000


@pytest.fixture(params=CLOCKED)
def encoder(request: pytest.FixtureRequest) -> HistoryEncoder:
    torch.manual_seed(3)
    name, _, clock = request.param.partition("-")
    made = ENCODERS.make(name, CONFIG, time_bias=clock == "clock").double().eval()  # type: ignore[attr-defined]
    for parameter in made.parameters():  # biases start at zero, and would hide their mistakes
        torch.nn.init.normal_(parameter, std=0.3)
    return made  # type: ignore[no-any-return]


def clock(rows: int, length: int) -> tuple[Tensor, Tensor]:
    """When each token happened, and when the next one did."""
    moments = torch.randint(0, DAY, (rows, length + 1)).cumsum(1)
    return moments[:, :-1], moments[:, 1:]


def test_states_do_not_depend_on_what_comes_after(encoder: HistoryEncoder) -> None:
    tokens, (times, query_times) = torch.randn(2, 9, 16, dtype=torch.float64), clock(2, 9)
    changed, later, queried_later = tokens.clone(), times.clone(), query_times.clone()
    changed[:, 5:] = torch.randn(2, 4, 16, dtype=torch.float64)
    later[:, 5:] += DAY
    queried_later[:, 5:] += DAY
    before, after = encoder(tokens, times, query_times), encoder(changed, later, queried_later)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


def test_last_is_the_state_at_the_last_real_position(encoder: HistoryEncoder) -> None:
    tokens, moments = torch.randn(4, 9, 16, dtype=torch.float64), clock(4, 9)
    lengths = torch.tensor([1, 4, 8, 9])
    expected = encoder(tokens, *moments)[torch.arange(4), lengths - 1]
    torch.testing.assert_close(encoder.last(tokens, lengths, *moments), expected, rtol=0, atol=1e-12)


def test_padding_never_reaches_a_real_position(encoder: HistoryEncoder) -> None:
    tokens, (times, query_times) = torch.randn(1, 5, 16, dtype=torch.float64), clock(1, 5)
    padded = torch.cat([tokens, torch.full((1, 3, 16), 1e3, dtype=torch.float64)], 1)
    zeros = torch.zeros(1, 3, dtype=torch.int64)
    lengths = torch.tensor([5])
    torch.testing.assert_close(
        encoder.last(padded, lengths, torch.cat([times, zeros], 1), torch.cat([query_times, zeros], 1)),
        encoder.last(tokens, lengths, times, query_times),
        rtol=0,
        atol=1e-10,
    )


@pytest.mark.parametrize("name", [name for name in ENCODERS.named if ENCODERS.has(name, ATTENTION)])
def test_only_a_clocked_encoder_sees_when_things_happened_and_when_it_is_asked(name: str) -> None:
    tokens, (times, query_times) = torch.randn(2, 6, 16), clock(2, 6)
    for clocked in (True, False):
        made = ENCODERS.make(name, CONFIG, time_bias=clocked).eval()  # type: ignore[attr-defined]
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        here = made(tokens, times, query_times)
        longer_ago = made(tokens, times - 30 * DAY, query_times)
        queried_later = query_times.clone()
        queried_later[:, -1] += 30 * DAY
        assert torch.equal(here, longer_ago) is not clocked
        assert torch.equal(here[:, -1], made(tokens, times, queried_later)[:, -1]) is not clocked


def test_time_buckets_grow_with_the_logarithm_and_are_the_same_for_whole_seconds() -> None:
    seconds = torch.tensor([-5, 0, 1, 2, 3, 60, 3600, 86_400, 10**9, 10**10])
    buckets = time_buckets(seconds * 1_000_000).tolist()
    assert buckets[:2] == [0, 0]
    assert sorted(buckets) == buckets
    assert len(set(buckets[1:-1])) == len(buckets) - 2
    assert buckets[-1] <= 63
    exact = [math.floor(2 * math.log2(1 + second) + 0.5) for second in (1, 2, 3, 60, 3600, 86_400)]
    assert buckets[2:8] == exact


def test_near_positions_have_a_bucket_each_and_far_ones_share() -> None:
    buckets = position_buckets(torch.arange(20_000))
    assert torch.equal(buckets[:128], torch.arange(128))
    assert bool((buckets.diff() >= 0).all())
    assert int(buckets.max()) < 128 + 64
    assert int(buckets[16_000]) > int(buckets[8_000])


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
