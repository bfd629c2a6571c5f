"""Ages of users and items are those of the moment that is asked about, in training as in what is served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from retrieval.data import Dataset
from retrieval.features import FeatureSpec, HistorySpec
from retrieval.features.kinds.activity import ActivityFeature
from retrieval.features.kinds.age import AgeFeature
from retrieval.features.kinds.categorical import CategoricalFeature
from retrieval.features.kinds.first_seen import FirstSeenFeature
from retrieval.features.kinds.since_last import SinceLastFeature
from retrieval.storage import ArtifactStore
from retrieval.towers.loading import load_item_tower
from retrieval.towers.offline import SideInputs, catalog_at, item_inputs
from retrieval.towers.runtime import load_user_tower
from retrieval.types import DAY_US, HOUR_US, ModelVersion
from retrieval.workflows.evaluation.user_inputs import inputs_at
from tests.tiny import START_US, Tiny, tiny_dataset, tiny_version

SPEC = FeatureSpec(
    history=HistorySpec(length=12),
    user=(AgeFeature(name="joined"), CategoricalFeature(name="country")),
    item=(
        AgeFeature(name="published"),
        FirstSeenFeature(name="seen_for"),
        ActivityFeature(name="lately"),
        CategoricalFeature(name="colour"),
    ),
    context=(SinceLastFeature(name="pause"),),
)


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
    """With dates: users joined and items were published an hour to 40 days before the log's middle, some unknown."""
    made = tiny_dataset(tmp_path_factory.mktemp("ages"), users=20, events=60)
    return replace(
        made,
        users=made.users.append_column("joined", dates(made.users.num_rows)),
        items=made.items.append_column("published", dates(made.items.num_rows)),
    )


def dates(count: int) -> pa.Array:
    before = np.random.default_rng(count).integers(HOUR_US, 40 * DAY_US, count)
    return pa.array(START_US + 15 * DAY_US - before, pa.timestamp("us"), mask=np.arange(count) % 9 == 8)


@pytest.fixture(scope="module")
def version(store: ArtifactStore, dataset: Dataset) -> Tiny:
    return tiny_version(store, ModelVersion("ages", 1), dataset, spec=SPEC)


def test_the_age_of_a_user_is_that_at_each_example_as_at_each_request(
    store: ArtifactStore, version: Tiny, dataset: Dataset
) -> None:
    histories = dataset.histories
    user = int(np.argmax(np.diff(histories.offsets)))
    rows = np.arange(histories.offsets[user] + 1, histories.offsets[user + 1])
    tower = load_user_tower(store, version.version)
    watched = Watched(tower._session)
    tower._session = watched  # type: ignore[assignment]
    for one in inputs_at(dataset, tower.features, rows):
        tower.embed([one])
    served = np.concatenate([feed["user_joined"] for feed in watched.fed])
    read = SideInputs(dataset, version.features).read(np.array([user]), np.zeros(len(rows), np.int64), rows, rows - 1)
    assert read["user_joined"].tolist() == served.tolist()
    assert len(set(served.tolist())) > 2, "the moments must be far enough apart"
    for name in ("user_country", "context_pause"):
        assert read[name].tolist() == np.concatenate([feed[name] for feed in watched.fed]).tolist()


def test_items_are_encoded_as_of_a_moment_as_an_index_of_that_moment_has_them(
    store: ArtifactStore, version: Tiny, dataset: Dataset
) -> None:
    inputs = item_inputs(dataset, version.features, dataset.histories.last_us)
    tower = load_item_tower(store, version.version, device="cpu")
    found = []
    for at in (START_US + DAY_US, START_US + 10 * DAY_US + 7, dataset.histories.last_us):
        with torch.no_grad():
            trained = version.pair.item(inputs.items(torch.arange(dataset.items.num_rows), at)).numpy()  # type: ignore[attr-defined]
        table = catalog_at(dataset.items, dataset.histories, version.features, at)
        found.append(tower.encode(table, at))
        np.testing.assert_allclose(trained, found[-1], rtol=0, atol=1e-6)
    assert np.abs(found[0] - found[1]).max() > 1e-3
    assert np.abs(found[1] - found[2]).max() > 1e-3


def test_the_age_of_an_item_moves_and_is_no_part_of_its_token(version: Tiny, dataset: Dataset) -> None:
    inputs = item_inputs(dataset, version.features, START_US + 20 * DAY_US)
    rows = torch.tensor([3, 8, 0])
    early, late = (inputs.items(rows, START_US + 15 * DAY_US + after)["published"] for after in (0, 10 * DAY_US))
    assert (early[[0, 2]] < late[[0, 2]]).all()
    assert early[1] == late[1] == 0, "an item without a date has no age"
    tokens = [version.pair.item.represent(inputs.items(rows, at)) for at in (START_US, START_US + DAY_US)]  # type: ignore[attr-defined]
    assert torch.equal(*tokens)
