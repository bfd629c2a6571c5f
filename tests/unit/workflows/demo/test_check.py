from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from retrieval.storage import ArtifactStore, write_manifest
from retrieval.towers.config import TowerConfig
from retrieval.towers.runtime import load_user_tower
from retrieval.towers.user_input import UserInput
from retrieval.types import BuildId, ModelVersion
from retrieval.workflows.demo.answers import Answer, Served
from retrieval.workflows.demo.check import count_mismatches, read_item_vectors
from tests.tiny import TINY_TOWERS, tiny_dataset, tiny_version

USER = UserInput(at=1_700_000_000_000_000)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[ArtifactStore, Answer]:
    """A store with two versions and a build of the first, and a right answer of it."""
    root = tmp_path_factory.mktemp("world")
    store = ArtifactStore.create(str(root / "store"), cache=root / "cache")
    dataset = tiny_dataset(root / "workspace")
    for version in (1, 2):
        tiny_version(store, ModelVersion("demo", version), dataset, seed=version)
    vectors = np.random.default_rng(0).normal(size=(4, 16)).astype(np.float32)
    ids = [f"i{n}" for n in range(4)]
    _write_build(store, ids, vectors)
    user = load_user_tower(store, ModelVersion("demo", 1)).embed([USER])[0]
    scores = tuple(float(vector @ user) for vector in vectors)
    return store, Answer(0.0, 1.0, "u1", USER.at, (Served("demo@1", ("demo-b1",)),), (), tuple(ids), scores)


def _write_build(store: ArtifactStore, ids: list[str], vectors: np.ndarray) -> None:
    staged = store.staging()
    for shard in range(2):
        folder = staged / f"shard-{shard}-of-2"
        folder.mkdir()
        np.save(folder / "vectors.npy", vectors[shard::2])
        table = pa.table({"item_id": ids[shard::2]})
        with pa.OSFile(str(folder / "items.arrow"), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
            writer.write_table(table)
    write_manifest(staged, "index_build", {})
    store.publish(staged, "builds/demo/1")


def test_a_right_answer_is_right(world: tuple[ArtifactStore, Answer]) -> None:
    store, answer = world
    assert count_mismatches([answer], store, lambda _: USER) == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: replace(answer, scores=(*answer.scores[:3], answer.scores[3] + 0.01)),
        lambda answer: replace(answer, item_ids=("i1", "i0", "i2", "i3")),
        lambda answer: replace(answer, item_ids=("unheard-of", *answer.item_ids[1:])),
        lambda answer: replace(answer, served=(Served("demo@2", ("demo-b1",)),)),
    ],
    ids=["a score that is off", "items swapped", "an item the build lacks", "another version"],
)
def test_a_wrong_answer_is_counted(world: tuple[ArtifactStore, Answer], spoil: Callable[[Answer], Answer]) -> None:
    store, answer = world
    assert count_mismatches([answer, spoil(answer), spoil(answer)], store, lambda _: USER) == 2


def test_of_several_vectors_a_user_the_nearest_counts(world: tuple[ArtifactStore, Answer], tmp_path: Path) -> None:
    store, answer = world
    towers = TowerConfig.model_validate({**TINY_TOWERS.model_dump(), "interests": 3})
    tiny_version(store, ModelVersion("demo", 3), tiny_dataset(tmp_path), towers=towers)
    users = load_user_tower(store, ModelVersion("demo", 3)).embed([USER])[0]
    scores = {item: users @ vector for item, vector in read_item_vectors(store, BuildId("demo", 1)).items()}
    served = (Served("demo@3", ("demo-b1",)),)
    right = replace(answer, served=served, scores=tuple(float(scores[item].max()) for item in answer.item_ids))
    wrong = replace(answer, served=served, scores=tuple(float(scores[item].min()) for item in answer.item_ids))
    assert count_mismatches([right], store, lambda _: USER) == 0
    assert count_mismatches([right, wrong], store, lambda _: USER) == 1


def test_a_merge_by_rank_is_checked_version_by_version(world: tuple[ArtifactStore, Answer]) -> None:
    store, answer = world
    both = (Served("demo@1", ("demo-b1",)), Served("demo@2", ("demo-b1",)))
    other = load_user_tower(store, ModelVersion("demo", 2)).embed([USER])[0]
    vectors = read_item_vectors(store, BuildId("demo", 1))
    scores = (*answer.scores[:2], float(vectors["i2"] @ other), float(vectors["i3"] @ other))
    mixed = replace(answer, served=both, served_by=(0, 0, 1, 1), scores=scores)
    assert count_mismatches([mixed], store, lambda _: USER) == 0
    assert count_mismatches([replace(mixed, served_by=(0, 0, 0, 1))], store, lambda _: USER) == 1


def test_failed_requests_have_nothing_to_check(tmp_path: Path) -> None:
    store = ArtifactStore.create(str(tmp_path), cache=tmp_path / "cache")
    assert count_mismatches([Answer(0.0, 1.0, "u1", 0, error="gone")], store, lambda _: USER) == 0
