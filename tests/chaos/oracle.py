"""The oracle of version synchronisation: what each score of an answer must be, from the version that the answer names.

Nothing of `retrieval.serving` takes part: the user vector comes from the version's exported user tower, the item
vectors from the files of its builds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from retrieval.data import Dataset
from retrieval.storage import ArtifactStore
from retrieval.storage.arrow import read_arrow
from retrieval.towers.runtime import UserTower, load_user_tower
from retrieval.towers.user_input import History, UserInput
from retrieval.types import ModelVersion

# the native core keeps 16 bits of each coordinate
TOLERANCE = 5e-5


@dataclass(frozen=True)
class Seen:
    """One answer as it came over the wire; `by` is the position in `versions` for each item."""

    user: str
    at: int
    k: int
    item_ids: Sequence[str]
    scores: Sequence[float]
    versions: Sequence[tuple[str, int, str, tuple[int, ...]]]
    by: Sequence[int]
    attempts: int


@dataclass
class Oracle:
    store: ArtifactStore
    dataset: Dataset
    towers: dict[int, UserTower] = field(default_factory=dict)
    users: dict[tuple[int, str, int], np.ndarray] = field(default_factory=dict)
    builds: dict[tuple[str, int], tuple[int, str, dict[str, np.ndarray]]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    def problems(self, answer: Seen) -> list[str]:
        """Everything that is wrong with one answer; nothing where each score is that of the version named for it."""
        found = []
        if len(set(answer.item_ids)) != len(answer.item_ids):
            found.append("an item stands twice")
        if len(answer.item_ids) > answer.k:
            found.append(f"{len(answer.item_ids)} items for k={answer.k}")
        history = set(self.user_input(answer.user, 0).history.item_ids)
        for position, (item, score) in enumerate(zip(answer.item_ids, answer.scores, strict=True)):
            model, version, space, builds = answer.versions[answer.by[position] if answer.by else 0]
            vector = None
            for build in builds:
                of_version, of_space, vectors = self.build(model, build)
                if (of_version, of_space) != (version, space):
                    found.append(f"build {build} is of version {of_version}, the answer says {version}")
                vector = vectors.get(item, vector)
            if vector is None:
                found.append(f"{item} is in none of the builds {builds}")
                continue
            expected = float((self.user(version, answer.user, answer.at) @ vector).max())
            if abs(expected - score) > TOLERANCE:
                found.append(f"{answer.user} × {item}: score {score:.6f}, {model}@{version} gives {expected:.6f}")
            if item in history:
                found.append(f"{item} is in the history of {answer.user}")
        return found

    def user(self, version: int, user: str, at: int) -> np.ndarray:
        key = (version, user, at)
        if key not in self.users:
            if version not in self.towers:
                self.towers[version] = load_user_tower(self.store, ModelVersion("demo", version))
            self.users[key] = self.towers[version].embed([self.user_input(user, at)])[0]
        return self.users[key]

    def user_input(self, user: str, at: int) -> UserInput:
        """From the dataset, not from the user store."""
        histories = self.dataset.histories
        if not self.rows:
            self.rows = {name: row for row, name in enumerate(histories.user_ids.to_pylist())}
        row = self.rows[user]
        events = slice(int(histories.offsets[row]), int(histories.offsets[row + 1]))
        items = histories.item_ids.take(pa.array(histories.items[events])).to_pylist()
        actions = [histories.action_names[code] for code in histories.actions[events]]
        profile = {name: self.dataset.users[name][row].as_py() for name in self.dataset.users.column_names}
        return UserInput(History(items, actions, np.array(histories.timestamps[events])), profile, {}, at)

    def build(self, model: str, number: int) -> tuple[int, str, dict[str, np.ndarray]]:
        """Version, space, and the vector of every item of a build, from its files."""
        key = (model, number)
        if key not in self.builds:
            folder = self.store.locate(f"builds/{model}/{number}")
            facts = json.loads((folder / "MANIFEST.json").read_text())["facts"]
            vectors: dict[str, np.ndarray] = {}
            for shard in sorted(folder.glob("shard-*")):
                vectors.update(_vectors(shard))
            self.builds[key] = (facts["version"], facts["space_id"], vectors)
        return self.builds[key]


def _vectors(shard: Path) -> dict[str, np.ndarray]:
    ids = read_arrow(shard / "items.arrow")["item_id"].to_pylist()
    return dict(zip(ids, np.load(shard / "vectors.npy"), strict=True))
