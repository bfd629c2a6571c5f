"""Recomputes what was answered, from the raw artifacts of the version each answer names.

Nothing of the services is used here: the user vector comes from the version's own user tower, the item vectors from
the arrays in the shards of the builds that the answer names, and the score from their inner product in float64.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from retrieval.index.files import ITEM_ID, ITEMS, VECTORS
from retrieval.storage import ArtifactStore
from retrieval.storage.arrow import read_arrow
from retrieval.storage.keys import build_key, shard_folders
from retrieval.towers.runtime import load_user_tower
from retrieval.towers.user_input import UserInput
from retrieval.types import BuildId, ModelVersion
from retrieval.workflows.demo.answers import Answer

TOLERANCE = 1e-4
"""Largest difference between an answered score and its recomputation: float32 sums in another order, no more."""

VectorsByUser = Mapping[str, npt.NDArray[np.float32]]


def count_mismatches(
    answers: Sequence[Answer], store: ArtifactStore, user_input: Callable[[Answer], UserInput], *, batch: int = 128
) -> int:
    """How many answers hold a score that is not ⟨user vector, item vector⟩ in the version that it is said to be of.

    Of a user with several vectors it must be the largest of them.
    """
    parts: dict[str, list[tuple[Answer, int]]] = defaultdict(list)
    for answer in answers:
        for position, served in enumerate(answer.served):
            parts[served.version].append((answer, position))
    builds: dict[str, VectorsByUser] = {}
    wrong: set[int] = set()
    for version, group in sorted(parts.items()):
        tower = load_user_tower(store, ModelVersion.parse(version))
        for start in range(0, len(group), batch):
            block = group[start : start + batch]
            users = tower.embed([user_input(answer) for answer, _ in block])
            for (answer, position), user in zip(block, users, strict=True):
                if not _agrees(answer, position, user.astype(np.float64), store, builds):
                    wrong.add(id(answer))
    return len(wrong)


def _agrees(
    answer: Answer, position: int, user: npt.NDArray[np.float64], store: ArtifactStore, builds: dict[str, VectorsByUser]
) -> bool:
    chosen = [n for n, by in enumerate(answer.served_by or [0] * len(answer.item_ids)) if by == position]
    for build in answer.served[position].builds:
        if build not in builds:
            builds[build] = read_item_vectors(store, BuildId.parse(build))
    for n in chosen:
        found = [
            builds[b][answer.item_ids[n]] for b in answer.served[position].builds if answer.item_ids[n] in builds[b]
        ]
        expected = (float((user @ vector.astype(np.float64)).max()) for vector in found)
        if not any(abs(score - answer.scores[n]) <= TOLERANCE for score in expected):
            return False
    return True


def read_item_vectors(store: ArtifactStore, build: BuildId) -> VectorsByUser:
    """Every item vector of a build by item id, read from its shards' plain arrays."""
    folder = store.locate(build_key(build))
    vectors: dict[str, npt.NDArray[np.float32]] = {}
    for shard in shard_folders(folder):
        ids = read_arrow(shard / ITEMS)[ITEM_ID].to_pylist()
        rows = np.load(shard / VECTORS, allow_pickle=False)
        vectors.update(zip(ids, rows, strict=True))
    return vectors
