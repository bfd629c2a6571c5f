"""Targets of the next days against a slow loop over the events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval.data import Dataset, Split
from retrieval.features import Features
from retrieval.training.config import NegativesConfig, TargetsConfig, TrainingConfig
from retrieval.training.loop import train
from retrieval.training.sequences import Batch, SequenceReader, cut_windows
from retrieval.training.window_targets import WindowTargets
from tests.tiny import TINY_TOWERS

DAY = 86_400_000_000


def read(
    dataset: Dataset,
    split: Split,
    features: Features,
    config: TargetsConfig,
    *,
    actions: tuple[str, ...] = (),
    seed: int = 0,
    size: int = 7,
) -> Batch:
    """All windows in one batch."""
    histories = dataset.histories
    windows = cut_windows(
        np.asarray(histories.offsets), split.train_end, size, np.random.default_rng(0), everything=True
    )
    later = WindowTargets(histories, histories.action_mask(actions), split.train_end, config)
    return SequenceReader(histories, features, actions, later).read(windows, np.arange(len(windows)), (seed,))


def window_of(
    dataset: Dataset, split: Split, user: int, following: int, config: TargetsConfig, actions: tuple[str, ...]
) -> set[int]:
    """Rows of the events that may be drawn, slowly."""
    h = dataset.histories
    return {
        row
        for row in range(following, min(following + config.events, int(split.train_end[user])))
        if h.timestamps[row] <= h.timestamps[following] + config.days * DAY
        and (not actions or h.action_names[h.actions[row]] in actions)
    }


@pytest.mark.parametrize("actions", [(), ("save",)])
@pytest.mark.parametrize(
    "config",
    [
        TargetsConfig(method="window", days=5, events=32, per_position=2),
        TargetsConfig(method="window", days=300, events=4, per_position=3),
        TargetsConfig(method="window", days=0.01, events=9, per_position=1),
    ],
)
def test_targets_are_of_the_window_and_never_past_the_training_end(
    dataset: Dataset, split: Split, features: Features, config: TargetsConfig, actions: tuple[str, ...]
) -> None:
    batch = read(dataset, split, features, config, actions=actions)
    assert batch.target_position is not None
    assert (batch.target < split.train_end[batch.users[batch.position_row[batch.target_position]]]).all()
    drawn: dict[int, list[int]] = {p: [] for p in range(batch.examples)}
    for row, position in zip(batch.target.tolist(), batch.target_position.tolist(), strict=True):
        drawn[position].append(row)
    for position, rows in drawn.items():
        user = int(batch.users[batch.position_row[position]])
        allowed = window_of(dataset, split, user, int(batch.next_event[position]), config, actions)
        assert set(rows) <= allowed
        assert len(rows) == len(set(rows)) == min(len(allowed), config.per_position)


def test_positions_that_nothing_follows_are_left_out_and_no_others(
    dataset: Dataset, split: Split, features: Features
) -> None:
    config = TargetsConfig(method="window", days=2, events=5, per_position=2)
    batch = read(dataset, split, features, config, actions=("save",))
    every = read(dataset, split, features, config)
    want = {
        int(row)
        for row, at in zip(every.next_event, every.position_row, strict=True)
        if window_of(dataset, split, int(every.users[at]), int(row), config, ("save",))
    }
    assert set(batch.next_event.tolist()) == want
    assert 0 < len(want) < every.examples
    # a position counts for the click that follows it if a save comes soon
    assert {dataset.histories.action_names[a] for a in dataset.histories.actions[batch.next_event]} == {"click", "save"}
    assert (batch.previous[batch.position_column > 0] == batch.next_event[batch.position_column > 0] - 1).all()


def test_every_event_of_a_window_is_as_likely(dataset: Dataset, split: Split, features: Features) -> None:
    config = TargetsConfig(method="window", days=3650, events=5, per_position=2)
    times: dict[int, int] = {}
    for seed in range(400):
        batch = read(dataset, split, features, config, seed=seed)
        assert batch.target_position is not None
        for row, p in zip(batch.target, batch.target_position, strict=True):
            if int(split.train_end[batch.users[batch.position_row[p]]]) - int(batch.next_event[p]) >= 5:
                ahead = int(row - batch.next_event[p])
                times[ahead] = times.get(ahead, 0) + 1
    share = np.array([times[ahead] for ahead in range(5)]) / sum(times.values())
    np.testing.assert_allclose(share, 0.2, atol=0.01)


def test_draws_depend_on_the_seed_alone(dataset: Dataset, split: Split, features: Features) -> None:
    config = TargetsConfig(method="window")
    first, second, other = (read(dataset, split, features, config, seed=seed) for seed in (1, 1, 2))
    assert first.target.tolist() == second.target.tolist()
    assert first.target.tolist() != other.target.tolist()


def test_a_window_of_one_event_is_the_next_event(dataset: Dataset, split: Split, features: Features) -> None:
    batch = read(dataset, split, features, TargetsConfig(method="window", events=1, per_position=1))
    assert batch.target.tolist() == batch.next_event.tolist()
    windows = cut_windows(
        np.asarray(dataset.histories.offsets), split.train_end, 7, np.random.default_rng(0), everything=True
    )
    plain = SequenceReader(dataset.histories, features).read(windows, np.arange(len(windows)))
    assert plain.next_event.tolist() == batch.next_event.tolist()
    assert plain.target.tolist() == batch.target.tolist()


def test_parts_of_a_batch_have_the_targets_of_their_positions(
    dataset: Dataset, split: Split, features: Features
) -> None:
    batch = read(dataset, split, features, TargetsConfig(method="window", days=4), actions=("save",))

    def pairs(b: Batch) -> list[tuple[int, int]]:
        assert b.target_position is not None
        return list(zip(b.next_event[b.target_position].tolist(), b.target.tolist(), strict=True))

    parts = [pairs(batch.part(number, 3)) for number in range(3)]
    assert sorted(pairs(batch)) == sorted(parts[0] + parts[1] + parts[2])
    assert all(parts)


def test_it_trains(dataset: Dataset, split: Split, features: Features, tmp_path: Path) -> None:
    config = TrainingConfig(
        epochs=2,
        batch_tokens=256,
        min_batches=5,
        threads=1,
        negatives=NegativesConfig(in_batch=16, uniform=8),
        targets=TargetsConfig(method="window", days=10),
        action_weights={"save": 2.0},
    )
    results = [
        train(dataset, split, features, TINY_TOWERS, config, run_dir=tmp_path / name, show=False) for name in "ab"
    ]
    weights = [result.pair.state_dict() for result in results]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    nowhere = replace(split, train_end=np.minimum(split.train_end, np.asarray(dataset.histories.offsets[:-1]) + 2))
    short = read(dataset, nowhere, features, config.targets)
    assert (short.target < nowhere.train_end[short.users[short.position_row[short.target_position]]]).all()


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="can't be drawn from a window of events = 3"):
        TargetsConfig(method="window", events=3, per_position=4)
    with pytest.raises(ValueError, match='windows = "by_time" wants those of one period'):
        TrainingConfig(windows="by_time", targets=TargetsConfig(method="window"))
