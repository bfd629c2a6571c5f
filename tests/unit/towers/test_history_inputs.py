"""What training reads of a logged history is, position by position, what serving feeds its tower for the same user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.data import Dataset
from retrieval.features import CODES_AND_TIMES, FeatureSpec
from retrieval.storage import ArtifactStore
from retrieval.towers.runtime import UserTower, load_user_tower
from retrieval.training.sequences import SequenceReader, Windows
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.user_inputs import inputs_at
from tests.tiny import TINY_FEATURES, tiny_dataset, tiny_version


@dataclass
class Watched:
    """An inference session that keeps what it is given."""

    session: Any
    fed: list[Mapping[str, np.ndarray]] = field(default_factory=list)

    def run(self, names: object, feed: Mapping[str, np.ndarray]) -> Any:
        self.fed.append(feed)
        return self.session.run(names, feed)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return tiny_dataset(tmp_path_factory.mktemp("fed"), users=12, events=300)


@pytest.fixture(params=[{"length": 12}, {"length": 12, "older": 150}, {"length": 5, "time": True, "actions": False}])
def tower(request: pytest.FixtureRequest, dataset: Dataset, tmp_path: Path) -> UserTower:
    store = ArtifactStore.create(str(tmp_path / "store"), cache=tmp_path / "cache")
    spec = FeatureSpec.model_validate({**TINY_FEATURES.model_dump(), "history": request.param})
    return load_user_tower(store, tiny_version(store, ModelVersion("fed", 1), dataset, spec=spec).version)


def test_training_reads_what_serving_feeds(dataset: Dataset, tower: UserTower) -> None:
    histories, features = dataset.histories, tower.features
    first = np.asarray(histories.offsets[:-1])
    users = np.flatnonzero(np.diff(histories.offsets) > 100)
    back = np.array([0, 1, 4, 12, 13, 76, 77, 99])  # nothing yet, short, full, and the borders of chunks
    rows = np.unique(first[users][:, None] + back[None, :])
    watched = Watched(tower._session)
    tower._session = watched  # type: ignore[assignment]
    given = inputs_at(dataset, features, rows)
    start = histories.newest_before(rows, features.spec.history.length)
    windows = Windows(histories.users_of(rows), start, rows + 1, np.ones(len(rows), np.bool_))
    for row, one in enumerate(given):
        tower.embed([one])
        trained = SequenceReader(histories, features).read(windows, np.array([row])).history
        for name, want in trained.tower_inputs(features.history_inputs().pad).items():
            if name in watched.fed[-1]:  # export leaves out what a tower doesn't look at
                np.testing.assert_array_equal(watched.fed[-1][name], want, err_msg=f"{name} of event {rows[row]}")
    named = {name for fed in watched.fed for name in fed}
    assert {"items", "gaps", "lengths"} <= named
    assert ("older_items" in named) == bool(features.spec.history.older)


def test_batches_do_too(dataset: Dataset, tower: UserTower) -> None:
    """All windows in one batch, and all users in one call: equal up to how far each of both is padded."""
    histories, features = dataset.histories, tower.features
    rows = np.asarray(histories.offsets[1:]) - 1
    start = histories.newest_before(rows, features.spec.history.length)
    windows = Windows(histories.users_of(rows), start, rows + 1, np.ones(len(rows), np.bool_))
    batch = SequenceReader(histories, features).read(windows, np.arange(len(rows))).history
    encoded = [
        features.encode_history(one.history.item_ids, one.history.actions, one.history.timestamps)
        for one in inputs_at(dataset, features, rows)
    ]
    for row, one in enumerate(encoded):
        served = features.lay_out(one, histories.timestamps[rows[row] : rows[row] + 1])
        length = int(served.lengths[0])
        assert length == batch.lengths[row]
        for name in CODES_AND_TIMES:
            np.testing.assert_array_equal(getattr(batch, name)[row, :length], getattr(served, name)[0], err_msg=name)
