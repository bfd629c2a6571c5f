"""Training on histories whose older part is read in chunks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval.data import Dataset, Split, leave_one_out
from retrieval.features import Features, FeatureSpec, fit_features
from retrieval.towers.pair import TowerPair
from retrieval.training.config import NegativesConfig, TrainingConfig
from retrieval.training.epoch import plan_epoch
from retrieval.training.loop import TrainResult, train
from retrieval.training.run import TrainingInputs, prepare_run
from retrieval.training.sequences import Windows
from tests.tiny import TINY_FEATURES, TINY_TOWERS, tiny_dataset
from tests.trained import furthest, losses

# nothing that each process would draw for itself
TOWERS = TINY_TOWERS.model_copy(
    update={"dropout": 0.0, "id_dropout": 0.0, "history_id_dropout": 0.0, "profile_dropout": 0.0}
)
CONFIG = TrainingConfig(
    epochs=2,
    batch_tokens=512,
    min_batches=4,
    threads=1,
    precision="float32",
    checkpoint_seconds=0.0,
    validate_every=1,
    negatives=NegativesConfig(in_batch=16, uniform=8),
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return tiny_dataset(tmp_path_factory.mktemp("long"), users=9, events=400)


@pytest.fixture(scope="module")
def split(dataset: Dataset) -> Split:
    return leave_one_out(dataset.histories)


@pytest.fixture(scope="module")
def features(dataset: Dataset, split: Split) -> Features:
    spec = {**TINY_FEATURES.model_dump(), "history": {"length": 12, "older": 200}}
    return fit_features(FeatureSpec.model_validate(spec), dataset, split)


@pytest.fixture
def run(dataset: Dataset, split: Split, features: Features, tmp_path: Path):  # type: ignore[no-untyped-def]
    def start(folder: str, validate: object = None, **changes: object) -> TrainResult:
        config = TrainingConfig.model_validate({**CONFIG.model_dump(), **changes})
        run_dir = tmp_path / folder
        return train(dataset, split, features, TOWERS, config, run_dir=run_dir, show=False, validate=validate)  # type: ignore[arg-type]

    return start


def test_several_processes_give_the_same_losses_and_weights(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    one, several = run("1"), run("3", processes=3)
    np.testing.assert_allclose(losses(tmp_path / "3"), losses(tmp_path / "1"), rtol=1e-5)
    assert furthest(one.pair, several.pair) < 2e-4


def test_a_run_that_stopped_goes_on_to_the_same_weights(run) -> None:  # type: ignore[no-untyped-def]
    def fail(pair: TowerPair) -> dict[str, float]:
        raise InterruptedError

    def measure(pair: TowerPair) -> dict[str, float]:
        return {"ndcg@10": 0.5}

    whole = run("whole", measure)
    with pytest.raises(InterruptedError):
        run("stopped", fail)
    again = run("stopped", measure)
    assert again.steps == whole.steps
    assert furthest(whole.pair, again.pair) == 0.0


@pytest.mark.parametrize("windows", ["all", "last", "by_time"])
def test_batches_stay_within_their_tokens_and_gradients_reach_old_items(
    dataset: Dataset, split: Split, features: Features, tmp_path: Path, windows: str
) -> None:
    config = TrainingConfig.model_validate({**CONFIG.model_dump(), "windows": windows})
    run = prepare_run(TrainingInputs(dataset, split, features, TOWERS, config, tmp_path), torch.device("cpu"))
    planned, steps = plan_epoch(run, 0)
    batches = [run.reader.read(planned, chosen) for step in steps for chosen in step]
    assert max(batch.history.items.size for batch in batches) <= config.batch_tokens
    batch = max(batches, key=lambda batch: 0 if batch.history.chunks is None else len(batch.history.chunks.items))
    assert batch.history.chunks is not None
    assert set(batch.history.chunks.number) == {0, 1, 2}
    loss = run.objective(run.pair, batch, np.random.default_rng(0))
    loss.backward()  # type: ignore[no-untyped-call]
    chunks = run.pair.user.chunks.weight.grad
    assert chunks is not None
    assert (chunks.abs().sum(1) > 0).all()
    mark = run.pair.special.grad
    assert mark is not None
    assert mark[2].abs().sum() > 0


def test_the_table_of_the_codes_that_occur_serves_older_events_too(
    dataset: Dataset, split: Split, features: Features, tmp_path: Path
) -> None:
    run = prepare_run(TrainingInputs(dataset, split, features, TOWERS, CONFIG, tmp_path), torch.device("cpu"))
    start = int(dataset.histories.offsets[3]) + 9
    windows = Windows(*(np.array([row]) for row in (3, start, start + 4)), np.zeros(1, np.bool_))
    batch = run.reader.read(windows, np.arange(1))
    chunks = batch.history.chunks
    assert chunks is not None
    table, items, chunked = run.objective._token_table(run.pair, batch.history, np.random.default_rng(0))
    every = run.pair.token_table(run.objective._inputs.items.codes(torch.arange(run.pair.item.codes)))
    assert len(table) < len(every)
    torch.testing.assert_close(table[items], every[torch.from_numpy(batch.history.items)], rtol=0, atol=0)
    torch.testing.assert_close(table[chunked], every[torch.from_numpy(chunks.items)], rtol=0, atol=0)
