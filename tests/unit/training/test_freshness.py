"""A log in which nothing but how new an item is says whether it is engaged with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.data import DataConfig, Dataset, by_time, open_dataset
from retrieval.data.facts.training import last_training_us
from retrieval.errors import ConfigError
from retrieval.evaluation.evaluate import hit_rate_and_ndcg
from retrieval.features import FeatureSpec, HistorySpec, fit_features
from retrieval.features.declaration import Declaration
from retrieval.features.kinds.age import AgeFeature
from retrieval.features.kinds.first_seen import FirstSeenFeature
from retrieval.towers.config import TowerConfig
from retrieval.towers.offline import item_inputs
from retrieval.training.config import NegativesConfig, TrainingConfig
from retrieval.training.loop import train
from retrieval.training.vectors import PairVectors
from retrieval.types import HOUR_US
from tests.corpora import fixed_corpus
from tests.tiny import START_US

ITEMS, USERS, EVENTS_AN_HOUR = 120, 40, 15
EVERY_H, OLDEST_H = 2, 14
"""An item appears every two hours; read are those that appeared 2 … 14 hours ago, each as much: six at any time."""
TOWERS = TowerConfig(dim=16, blocks=1, heads=2, encoder="mean", dropout=0.0, id_dropout=0.5)
TRAINING = TrainingConfig(
    epochs=3,
    windows="by_time",
    period_minutes=60.0,
    negatives=NegativesConfig(in_batch=16, uniform=64),
    learning_rate=0.01,
    threads=1,
    precision="float32",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("fresh")
    rng = np.random.default_rng(0)
    hours = np.arange(OLDEST_H, ITEMS * EVERY_H)
    at = START_US + np.repeat(hours, EVENTS_AN_HOUR) * HOUR_US + rng.integers(0, HOUR_US, len(hours) * EVENTS_AN_HOUR)
    newest = (at - START_US) // HOUR_US // EVERY_H - 1
    events = {
        "user_id": [f"u{u}" for u in rng.integers(0, USERS, len(at))],
        "item_id": [f"i{i}" for i in newest - rng.integers(0, OLDEST_H // EVERY_H - 1, len(at))],
        "timestamp": pa.array(at, pa.int64()),
    }
    published = START_US + np.arange(ITEMS) * EVERY_H * HOUR_US
    items = {"item_id": [f"i{i}" for i in range(ITEMS)], "published": pa.array(published, pa.timestamp("us"))}
    pq.write_table(pa.table(events), root / "events.parquet")
    pq.write_table(pa.table(items), root / "items.parquet")
    return open_dataset(DataConfig(events="events.parquet", items="items.parquet"), root, show=False)


@pytest.mark.parametrize(
    ("feature", "least"),
    # what has just appeared is not told from what will appear, by its first event
    [(AgeFeature(name="published"), 0.8), (FirstSeenFeature(name="published"), 0.6)],
)
def test_it_is_learned_from_ages_at_each_moment(
    dataset: Dataset, tmp_path: Path, feature: Declaration, least: float
) -> None:
    metrics = hit_rate(dataset, tmp_path, (feature,))
    assert metrics["hr@10"] > least, metrics  # six of 120 are right, ten are shown


def test_without_a_feature_that_says_it_nothing_is_learned(dataset: Dataset, tmp_path: Path) -> None:
    assert hit_rate(dataset, tmp_path, ())["hr@10"] < 0.3


def test_ages_of_one_moment_only_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="published vary with time"):
        hit_rate(dataset, tmp_path, (AgeFeature(name="published"),), TRAINING.model_copy(update={"windows": "all"}))


def hit_rate(
    dataset: Dataset, folder: Path, features: tuple[Declaration, ...], config: TrainingConfig = TRAINING
) -> Mapping[str, float]:
    """Of the last day and a half, which trained nothing, against an index that is rebuilt every hour."""
    histories = dataset.histories
    test_from = histories.last_us - 36 * HOUR_US
    split = by_time(histories, test_from, test_from)
    fitted = fit_features(FeatureSpec(history=HistorySpec(length=8), item=features), dataset, split)
    pair = train(dataset, split, fitted, TOWERS, config, run_dir=folder, show=False).pair
    vectors = PairVectors(dataset, fitted, item_inputs(dataset, fitted, last_training_us(histories, split.train_end)))
    return hit_rate_and_ndcg(
        histories,
        split.test,
        lambda rows: vectors.users(pair, rows),
        lambda at: vectors.items(pair, at),
        corpus=fixed_corpus(np.ones(ITEMS), allow_seen=True, refresh_minutes=60.0),
    )
