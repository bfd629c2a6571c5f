"""The loss of a step: weights, parts of several processes, and what is remembered between steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval.data import Dataset, Split
from retrieval.data.facts.training import item_counts
from retrieval.errors import ArtifactError
from retrieval.features import Features
from retrieval.towers.config import TowerConfig
from retrieval.towers.offline import SideInputs, item_inputs
from retrieval.towers.pair import TowerPair, build_pair
from retrieval.training import losses
from retrieval.training.config import NegativesConfig, TrainingConfig
from retrieval.training.labels import Labels, target_actions
from retrieval.training.loop import train
from retrieval.training.sequences import Batch, SequenceReader, cut_windows
from retrieval.training.step import Objective, StepInputs
from tests.tiny import TINY_TOWERS

TOWERS = TowerConfig.model_validate(
    {**TINY_TOWERS.model_dump(), "dropout": 0.0, "id_dropout": 0.0, "history_id_dropout": 0.0, "profile_dropout": 0.0}
)
REMEMBERING = NegativesConfig(in_batch=16, uniform=8, memory=24, memory_size=64, correction="streaming")


class World:
    """A dataset, what a step needs of it, and untrained towers."""

    def __init__(self, dataset: Dataset, split: Split, features: Features) -> None:
        self.dataset, self.split, self.features = dataset, split, features
        self.pair: TowerPair = build_pair(TOWERS, features, 3).eval()

    def objective(self, config: TrainingConfig) -> Objective:
        histories = self.dataset.histories
        predicted = target_actions(histories, (), config.action_weights)
        inputs = StepInputs(
            item_inputs(self.dataset, self.features, histories.last_us),
            SideInputs(self.dataset, self.features),
            self.features,
            item_counts(histories, self.split.train_end, actions=predicted),
            Labels(histories, config.action_weights, config.sample_weight_column),
        )
        return Objective(config, inputs, torch.device("cpu"))

    def batch(self, first: int = 0, count: int = 12, actions: tuple[str, ...] = ()) -> Batch:
        offsets = np.asarray(self.dataset.histories.offsets)
        windows = cut_windows(offsets, self.split.train_end, 9, np.random.default_rng(0), everything=True)
        reader = SequenceReader(self.dataset.histories, self.features, actions)
        return reader.read(windows, np.arange(first, first + count))


def some(batch: Batch, which: np.ndarray) -> Batch:
    """Only these positions of the batch."""
    chosen = {
        name: getattr(batch, name)[which] for name in ("position_row", "position_column", "next_event", "previous")
    }
    return replace(batch, **chosen, target=batch.target[which])


@pytest.fixture(scope="module")
def world(dataset: Dataset, split: Split, features: Features) -> World:
    return World(dataset, split, features)


def settings(**changes: object) -> TrainingConfig:
    return TrainingConfig.model_validate({"negatives": REMEMBERING, **changes})


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_the_loss_is_the_weighted_mean_over_positions(world: World) -> None:
    batch = world.batch()
    histories = world.dataset.histories
    plain = world.objective(settings(loss="full_softmax"))
    each = [float(plain(world.pair, some(batch, np.array([p])), rng()).detach()) for p in range(batch.examples)]
    weight = {"click": 0.5, "save": 3.0}
    weights = [weight[histories.action_names[a]] for a in histories.actions[batch.next_event]]
    assert len(set(weights)) == 2
    have = world.objective(settings(loss="full_softmax", action_weights=weight))
    want = np.average(each, weights=weights)
    assert float(have(world.pair, batch, rng()).detach()) == pytest.approx(want, rel=1e-4)
    assert have.weight(batch) == pytest.approx(sum(weights))
    assert abs(want - np.mean(each)) > 1e-3


def test_several_targets_of_a_position_are_each_its_own_example(world: World) -> None:
    batch = world.batch()
    objective = world.objective(settings(loss="full_softmax"))
    P = batch.examples
    other = np.roll(batch.next_event, 5)
    target, position = np.concatenate([batch.next_event, other]), np.tile(np.arange(P), 2)
    order = np.random.default_rng(0).permutation(2 * P)[: P + 3]  # some positions with two targets, some with none
    have = objective(world.pair, replace(batch, target=target[order], target_position=position[order]), rng())
    each = [
        objective(world.pair, replace(some(batch, position[[one]]), target=target[[one]]), rng()).detach()
        for one in order
    ]
    assert float(have.detach()) == pytest.approx(float(torch.stack(each).mean()), rel=1e-4)


def test_auto_compares_every_item_where_they_are_few(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = world.batch()

    def loss(name: str) -> float:
        return float(world.objective(settings(loss=name))(world.pair, batch, rng()).detach())

    assert loss("auto") == loss("full_softmax") != loss("sampled_softmax")
    seen = len(np.unique(world.dataset.histories.items))
    monkeypatch.setattr(losses, "FEW_ITEMS", seen // 2)
    assert loss("auto") == loss("sampled_softmax")


def gradients(pair: TowerPair) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in pair.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("loss", ["sampled_softmax", "corrected_softmax", "logq_softmax", "gbce"])
def test_parts_of_several_processes_add_up_to_the_whole(world: World, loss: str) -> None:
    """Memory and streaming estimates included: each process hears of the whole batch."""
    config = settings(loss=loss, action_weights={"save": 2.0})
    batches = [world.batch(first) for first in (0, 12, 24)]
    alone, parts = world.objective(config), [world.objective(config) for _ in range(3)]
    for step, batch in enumerate(batches):
        world.pair.zero_grad()
        whole = alone(world.pair, batch, np.random.default_rng(step))
        whole.backward()  # type: ignore[no-untyped-call]
        want = gradients(world.pair)
        world.pair.zero_grad()
        total = 0.0
        for number, part in enumerate(parts):
            own = some(batch, np.flatnonzero(batch.position_row % 3 == number))
            share = part(world.pair, own, np.random.default_rng(step), whole=batch)
            share.backward()  # type: ignore[no-untyped-call]
            total += float(share.detach())
        assert total == pytest.approx(float(whole.detach()), rel=1e-5)
        have = gradients(world.pair)
        assert have.keys() == want.keys()
        for name, value in want.items():
            torch.testing.assert_close(have[name], value, rtol=1e-3, atol=1e-6)


def test_what_is_remembered_goes_through_a_checkpoint(world: World) -> None:
    first = world.objective(settings())
    for step in range(3):
        first.candidates(np.arange(step, step + 20), np.random.default_rng(step))
    second = world.objective(settings())
    second.restore(first.state())
    targets = np.array([1, 3, 5, 5])
    have, want = (each.candidates(targets, rng()) for each in (second, first))
    assert have.items.tolist() == want.items.tolist()
    assert have.bias.tolist() == want.bias.tolist()
    assert world.objective(settings()).candidates(targets, rng()).items.tolist() != want.items.tolist()
    with pytest.raises(ArtifactError, match="no state of popularity"):
        world.objective(settings()).restore({})


def test_other_settings_remember_nothing(world: World) -> None:
    assert world.objective(settings(negatives=NegativesConfig())).state() == {}
    assert world.objective(settings(loss="full_softmax")).state() == {}


class _StopError(Exception):
    pass


def test_a_resumed_run_remembers_as_one_that_went_through(
    dataset: Dataset, split: Split, features: Features, tmp_path: Path
) -> None:
    config = settings(
        epochs=2, validate_every=1, batch_tokens=256, min_batches=5, threads=1, checkpoint_seconds=0.0, loss="gbce"
    )

    def run(folder: str, stop: int | None) -> Mapping[str, torch.Tensor]:
        calls: list[int] = []

        def validate(pair: TowerPair) -> dict[str, float]:
            calls.append(1)
            if len(calls) == stop:
                raise _StopError
            return {"ndcg@10": float(len(calls))}

        result = train(
            dataset, split, features, TINY_TOWERS, config, run_dir=tmp_path / folder, validate=validate, show=False
        )
        assert (result.resumed_at > 0) == (folder == "again" and stop is None)
        return result.pair.state_dict()

    whole = run("whole", None)
    with pytest.raises(_StopError):
        run("again", 1)
    again = run("again", None)
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "corrected_softmax"},
        {"loss": "logq_softmax"},
        {"loss": "gbce"},
        {"loss": "full_softmax"},
        {"negatives": NegativesConfig(in_batch=8, uniform=0, correction="none")},
        {"negatives": NegativesConfig(in_batch=0, uniform=0, memory=8)},
        {"negatives": NegativesConfig(correction="streaming", streaming_buckets=16, streaming_hashes=1)},
        {"action_weights": {"click": 0.0}},
    ],
)
def test_every_objective_trains(
    dataset: Dataset, split: Split, features: Features, tmp_path: Path, changes: dict[str, object]
) -> None:
    config = settings(epochs=1, batch_tokens=256, min_batches=5, threads=1, **changes)
    result = train(dataset, split, features, TINY_TOWERS, config, run_dir=tmp_path, show=False)
    assert all(torch.isfinite(value).all() for value in result.pair.state_dict().values())
