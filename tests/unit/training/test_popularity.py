"""What the popularity correction takes for an item's share is its share of what batches draw as in-batch negatives."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval.data import Dataset, Split
from retrieval.features import Features
from retrieval.training.config import TrainingConfig
from retrieval.training.epoch import plan_epoch
from retrieval.training.run import Run, TrainingInputs, prepare_run
from tests.tiny import TINY_TOWERS


@pytest.mark.parametrize("positive", [(), ("save",)])
@pytest.mark.parametrize(
    "settings",
    [
        {"windows": "all"},
        {"windows": "last"},
        {"windows": "by_time", "period_minutes": 2880.0},
        {"windows": "by_time", "period_minutes": 2880.0, "recent_days": 9.0},
        {"windows": "by_time", "period_minutes": 2880.0, "action_weights": {"click": 0.0}},
    ],
)
def test_shares_are_those_of_the_targets(
    dataset: Dataset,
    split: Split,
    features: Features,
    tmp_path: Path,
    settings: dict[str, object],
    positive: tuple[str, ...],
) -> None:
    """Events that are history alone, for their action, age or place, or that validation keeps, are not counted.

    With all windows it holds on average: where a long history is cut, one event is history alone, each time another.
    """
    config = TrainingConfig.model_validate({"batch_tokens": 200, "threads": 1, **settings})
    inputs = TrainingInputs(dataset, split, features, TINY_TOWERS, config, tmp_path, positive)
    run = prepare_run(inputs, torch.device("cpu"))
    every = np.arange(len(dataset.histories.item_ids))
    drawn = targets_by_period(run)
    assert len(drawn) > 3 or config.windows != "by_time"
    popularity = run.objective._popularity
    atol = 5e-3 if config.windows == "all" else 1e-12
    for at, items in drawn.items():
        popularity.observe(items, at)
        counts = np.bincount(items, minlength=len(every))
        np.testing.assert_allclose(popularity.share(every), counts / counts.sum(), atol=atol)
    assert popularity.seen.tolist() == np.unique(np.concatenate(list(drawn.values()))).tolist()


def targets_by_period(run: Run) -> dict[int | None, np.ndarray]:
    """Items of an epoch's targets, by the beginning of their batch's period."""
    windows, steps = plan_epoch(run, 0)
    found = defaultdict(list)
    for step in steps:
        for chosen in step:
            batch = run.reader.read(windows, chosen)
            if batch.examples:
                found[batch.at].append(np.asarray(run.histories.items[batch.target], np.int64))
    return {at: np.concatenate(items) for at, items in found.items()}
