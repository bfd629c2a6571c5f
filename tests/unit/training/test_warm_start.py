from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from retrieval.data import Dataset, Split, leave_one_out, open_dataset
from retrieval.errors import ArtifactError
from retrieval.features import ITEM_ID, Features, FeatureSpec, fit_features
from retrieval.towers.config import TowerConfig
from retrieval.towers.offline import item_inputs
from retrieval.towers.pair import TowerPair, build_pair
from retrieval.training.config import TrainingConfig
from retrieval.training.loop import train
from retrieval.training.optimiser import make_optimiser, optimiser_order
from retrieval.training.warm_start import STATE_KIND, CarriedOver, WarmStart, carry_over, write_training_state
from tests.tiny import TINY_CONFIG, TINY_FEATURES, TINY_TOWERS, write_tiny
from tests.trained import losses

CONFIG = TrainingConfig(epochs=2, threads=1, device="cpu")
IDS_ONLY = FeatureSpec.model_validate({"history": {"length": 12}})


@dataclass(frozen=True)
class Log:
    dataset: Dataset
    split: Split
    features: Features


@dataclass(frozen=True)
class Parent:
    pair: TowerPair
    log: Log
    warm: WarmStart
    run: Path


def log_without(root: Path, left_out: set[str], spec: FeatureSpec = TINY_FEATURES) -> Log:
    """The tiny log without the events of some items; the catalogue has all."""
    write_tiny(root, users=80, items=40, events=30)
    path = root / "data" / "events.parquet"
    events = pq.read_table(path)
    pq.write_table(events.filter([item not in left_out for item in events["item_id"].to_pylist()]), path)
    dataset = open_dataset(TINY_CONFIG, root, show=False)
    split = leave_one_out(dataset.histories)
    return Log(dataset, split, fit_features(spec, dataset, split))


def parent_of(root: Path, log: Log) -> Parent:
    run = root / "run"
    pair = train(log.dataset, log.split, log.features, TINY_TOWERS, CONFIG, run_dir=run, show=False).pair
    write_training_state(root / STATE_KIND, pair=pair, run_dir=run, facts={})
    log.features.save(root / "features")
    return Parent(pair, log, WarmStart("demo@1", "space", root / STATE_KIND, root / "features"), run)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Parent:
    root = tmp_path_factory.mktemp("parent")
    return parent_of(root, log_without(root, {"i5", "i6"}))


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """i5 and i6 are new, i9 is gone, and the codes of the rest are others."""
    return log_without(tmp_path_factory.mktemp("later"), {"i9"})


def test_rows_of_ids_that_stay_are_carried_over_by_their_words(parent: Parent, later: Log) -> None:
    pair = build_pair(TINY_TOWERS, later.features, 7)
    optimiser = make_optimiser(pair, CONFIG)
    found = carry_over(parent.warm, pair, optimiser, later.features)
    old, new = parent.log.features.item_vocabulary, later.features.item_vocabulary
    assert found == CarriedOver(kept=len(set(old.words) & set(new.words)), new=2, gone=1)
    assert old.words != new.words
    before, after = parent.pair.item.id.table.weight, pair.item.id.table.weight
    moments = optimiser.state[after]
    order = optimiser_order(parent.pair)
    assert order == optimiser_order(pair)
    for word in new.words:
        was, now = old.code(word), new.code(word)
        assert torch.equal(after[now], before[was]), word
        if word in {"i5", "i6"}:
            assert was == 1  # the row of unknown ids
            assert not moments["exp_avg"][now].any()
        else:
            assert moments["exp_avg_sq"][now].any()
    assert float(moments["step"]) > 0
    same = {"user.head.0.weight", "log_temperature", "special"}
    theirs = dict(parent.pair.named_parameters())
    for name, weight in pair.named_parameters():
        if name in same:
            assert torch.equal(weight, theirs[name]), name


def test_a_new_item_is_at_first_what_its_features_make_it(parent: Parent, later: Log) -> None:
    pair = build_pair(TINY_TOWERS, later.features, 7)
    carry_over(parent.warm, pair, make_optimiser(pair, CONFIG), later.features)
    rows = later.dataset.histories.item_rows(["i5", "i6", "i7"])

    def vectors(towers: TowerPair, features: Features) -> np.ndarray:
        inputs = item_inputs(later.dataset, features, later.dataset.histories.last_us)
        with torch.no_grad():
            given = {name: values[torch.from_numpy(rows)] for name, values in inputs.by_item.items()}
            assert given[ITEM_ID].shape == (3,)
            return towers.eval().item(given).numpy()

    # the features that both learned alike (their vocabularies and scales differ a little where the logs do)
    assert np.allclose(vectors(pair, later.features), vectors(parent.pair, parent.log.features), atol=0.02)


def test_without_features_new_ids_start_as_from_scratch(tmp_path: Path) -> None:
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    before = log_without(tmp_path / "before", {"i5"}, IDS_ONLY)
    made = parent_of(tmp_path / "before", before)
    after = log_without(tmp_path / "after", set(), IDS_ONLY)
    fresh, pair = build_pair(TINY_TOWERS, after.features, 7), build_pair(TINY_TOWERS, after.features, 7)
    carry_over(made.warm, pair, make_optimiser(pair, CONFIG), after.features)
    new, known = after.features.item_vocabulary.code("i5"), after.features.item_vocabulary.code("i7")
    assert torch.equal(pair.item.id.table.weight[new], fresh.item.id.table.weight[new])
    assert pair.item.id.table.weight[new].any()
    assert not torch.equal(pair.item.id.table.weight[known], fresh.item.id.table.weight[known])


def test_training_begins_where_the_parent_was(parent: Parent, later: Log, tmp_path: Path) -> None:
    def first_loss(folder: Path, warm: WarmStart | None) -> float:
        log = later
        train(
            log.dataset, log.split, log.features, TINY_TOWERS, CONFIG, run_dir=folder, warm=warm, show=False
        )  # fmt: skip
        return losses(folder)[0]

    scratch, warm = first_loss(tmp_path / "scratch", None), first_loss(tmp_path / "warm", parent.warm)
    assert warm < losses(parent.run)[0]
    assert warm < scratch
    # a checkpoint of a run that began otherwise is not gone on with
    again = first_loss(tmp_path / "scratch", parent.warm)
    assert again == warm


def test_towers_of_another_shape_are_refused(parent: Parent, later: Log) -> None:
    wider = TowerConfig(dim=32, blocks=2, heads=2, expansion=2, dropout=0.1)
    pair = build_pair(wider, later.features, 7)
    with pytest.raises(ArtifactError, match=r"demo@1 have another shape; set retrain\.warm_start = false"):
        carry_over(parent.warm, pair, make_optimiser(pair, CONFIG), later.features)
    (parent.warm.state.parent / "empty").mkdir()
    empty = WarmStart("demo@1", "space", parent.warm.state.parent / "empty", parent.warm.features)
    with pytest.raises(ArtifactError, match="not a training's state"):
        carry_over(empty, pair, make_optimiser(pair, CONFIG), later.features)
