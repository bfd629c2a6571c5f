"""Users with several vectors: every loss against the same written out in float64, and what is reported of them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import Tensor

from retrieval.data import Dataset, Split
from retrieval.features import Features
from retrieval.towers.config import TowerConfig
from retrieval.towers.pair import build_pair
from retrieval.training.config import TargetsConfig, TrainingConfig
from retrieval.training.journal import METRICS, read_journal
from retrieval.training.loop import train
from retrieval.training.losses import LOSSES, make_loss
from retrieval.training.losses.comparison import Comparison
from tests.comparisons import comparison_of
from tests.tiny import TINY_TOWERS

P, E, K, D = 12, 3, 15, 5
HITS = torch.tensor([-1, 2, 0, -1, 6, 2, -1, 3, -1, 14, 1, -1])


def comparison(users: Tensor, negatives: Tensor, own: Tensor) -> Comparison:
    positives = (users * own[:, None]).sum(-1).amax(1)
    return comparison_of(users, negatives, positives, HITS, items=40, draws=20)


def with_one_vector(c: Comparison) -> Comparison:
    """The same scores from users with one vector: each candidate is a dimension."""
    every = torch.stack([torch.stack([v @ n for n in c.negatives]) for v in c.users.reshape(-1, D)]).view(P, E, K)
    return Comparison(
        users=every.amax(1),
        negatives=torch.eye(K, dtype=torch.float64),
        bias=c.bias,
        positives=c.positives,
        hits=c.hits,
        weights=c.weights,
        own_bias=c.own_bias,
        others=c.others,
        draws=c.draws,
        items=c.items,
        corrected=c.corrected,
    )


@pytest.fixture
def inputs() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = ((P, E, D), (K, D), (P, D))
    return [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("name", sorted(LOSSES.named))
@pytest.mark.parametrize("elements", [1, 100, 1 << 20])  # several chunks and one
def test_a_user_scores_by_the_nearest_vector(
    inputs: list[Tensor], name: str, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("sampled_softmax", "gbce"):
        monkeypatch.setattr(import_module(f"retrieval.training.losses.{file}"), "_CHUNK_ELEMENTS", elements)
    loss = make_loss(TrainingConfig(loss=name))
    found, want = loss(comparison(*inputs)), loss(with_one_vector(comparison(*inputs)))
    torch.testing.assert_close(found, want)
    for have, expected in zip(torch.autograd.grad(found, inputs), torch.autograd.grad(want, inputs), strict=True):
        torch.testing.assert_close(have, expected)


def test_only_the_nearest_vector_learns(inputs: list[Tensor]) -> None:
    users, negatives, own = inputs
    with torch.no_grad():
        users[:, 2] = -100 * users[:, 0]  # the farthest from some, the nearest to others
        users[0] = torch.stack([own[0] * 9, -own[0], own[0] * 0])
        negatives.copy_(own[0].expand(K, D) * torch.rand(K, 1, dtype=torch.float64))
    loss = make_loss(TrainingConfig())(comparison(users, negatives, own))
    gradient = torch.autograd.grad(loss, users)[0][0].abs().sum(1)
    assert gradient[0] > 0
    assert gradient[1:].tolist() == [0, 0]


def towers(interests: int) -> TowerConfig:
    return TowerConfig.model_validate({**TINY_TOWERS.model_dump(), "interests": interests})


@pytest.mark.parametrize("method", ["next", "window"])
def test_the_share_of_each_interest_is_written_down(
    dataset: Dataset, split: Split, features: Features, tmp_path: Path, method: str
) -> None:
    config = TrainingConfig(
        epochs=3, batch_tokens=256, min_batches=5, threads=1, targets=TargetsConfig.model_validate({"method": method})
    )
    rows = {}
    for interests in (1, 3):
        folder = tmp_path / str(interests)
        train(dataset, split, features, towers(interests), config, run_dir=folder, show=False)
        rows[interests] = [row for row in read_journal(folder / METRICS) if row["kind"] == "train"]
    assert all("interests" not in row for row in rows[1])
    for row in rows[3]:
        assert len(row["interests"]) == 3
        assert sum(row["interests"]) == pytest.approx(1)
        assert sum(share > 0.02 for share in row["interests"]) > 1, "one interest takes all"
    assert rows[3][-1]["loss"] < rows[3][0]["loss"] - 0.1


def test_one_interest_is_the_tower_without_them(features: Features) -> None:
    plain = TowerConfig.model_validate({k: v for k, v in TINY_TOWERS.model_dump().items() if k != "interests"})
    one, several = build_pair(plain, features, 5), build_pair(towers(3), features, 5)
    assert one.user.head[2].weight.shape == (TINY_TOWERS.dim, 2 * TINY_TOWERS.dim)
    assert not one.user.head[2].bias.any()
    assert several.user.head[2].weight.shape == (3 * TINY_TOWERS.dim, 2 * TINY_TOWERS.dim)
