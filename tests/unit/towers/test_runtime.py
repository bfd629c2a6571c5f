from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.data import Dataset
from retrieval.errors import ArtifactError, NotFoundError, RequestError
from retrieval.storage import ArtifactStore, write_manifest
from retrieval.towers.config import TowerConfig
from retrieval.towers.encoders import ENCODERS
from retrieval.towers.offline import item_inputs
from retrieval.towers.runtime import UserTower, length_groups, load_user_tower
from retrieval.towers.user_input import History, UserInput
from retrieval.training.vectors import PairVectors
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.evaluate import user_vectors
from retrieval.workflows.evaluation.user_inputs import inputs_at
from tests.tiny import TINY_TOWERS, Tiny, tiny_version

THREE = TowerConfig.model_validate({**TINY_TOWERS.model_dump(), "interests": 3})
AT = 1_702_000_000_000_000


@pytest.fixture(scope="session")
def tower(store: ArtifactStore, tiny: Tiny) -> UserTower:
    return load_user_tower(store, tiny.version)


def user(events: int, **context: str) -> UserInput:
    history = History(
        [f"i{n % 40}" for n in range(events)], ["click"] * events, AT - np.arange(events, 0, -1) * 3_600_000_000
    )
    return UserInput(history, {"country": "FR", "height": 180.0}, context, AT)


@pytest.mark.parametrize("encoder", sorted(ENCODERS.named))
def test_what_is_served_is_what_was_trained(
    store: ArtifactStore, dataset: Dataset, encoder: str, tmp_path: Path
) -> None:
    own = ArtifactStore.create(str(tmp_path / "store"), cache=tmp_path / "cache")
    towers = TowerConfig.model_validate({**TINY_TOWERS.model_dump(), "encoder": encoder})
    made = tiny_version(own, ModelVersion("golden", 1), dataset, towers=towers, seed=3)
    rows = np.concatenate([made.split.test, made.split.valid, np.asarray(dataset.histories.offsets[:5])])
    items = item_inputs(dataset, made.features, dataset.histories.last_us)
    trained = PairVectors(dataset, made.features, items).users(made.pair, rows)  # type: ignore[arg-type]
    served = load_user_tower(own, made.version).embed(inputs_at(dataset, made.features, rows))
    np.testing.assert_allclose(served, trained, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(served, axis=1), 1.0, atol=1e-5)


def test_users_with_several_vectors_are_served_as_trained(dataset: Dataset, tmp_path: Path) -> None:
    own = ArtifactStore.create(str(tmp_path / "store"), cache=tmp_path / "cache")
    made = tiny_version(own, ModelVersion("golden", 1), dataset, towers=THREE, seed=3)
    tower = load_user_tower(own, made.version)
    rows = np.concatenate([made.split.test, np.asarray(dataset.histories.offsets[:5])])
    items = item_inputs(dataset, made.features, dataset.histories.last_us)
    trained = PairVectors(dataset, made.features, items).users(made.pair, rows)  # type: ignore[arg-type]
    served = tower.embed(inputs_at(dataset, made.features, rows))
    assert served.shape == (len(rows), 3, tower.dim)
    np.testing.assert_allclose(served, trained, rtol=0, atol=1e-5)
    np.testing.assert_allclose(user_vectors(dataset, tower, rows), trained, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(served, axis=2), 1.0, atol=1e-5)
    cosines = np.einsum("nid,njd->nij", served, served)[:, *np.triu_indices(3, 1)]
    assert 0.9 < cosines.min() <= cosines.max() < 0.999, "a little apart: alike they would learn the same"
    assert tower.embed([]).shape == (0, 3, tower.dim)


@pytest.mark.parametrize("said", [1, 2])
def test_a_tower_with_another_number_of_vectors_than_it_says_is_refused(
    dataset: Dataset, tmp_path: Path, said: int
) -> None:
    own = ArtifactStore.create(str(tmp_path / "store"), cache=tmp_path / "cache")
    tiny_version(own, ModelVersion("golden", 1), dataset, towers=THREE)
    folder = tmp_path / "store/models/golden/1/user_tower"
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["interests"] == 3
    (folder / "meta.json").write_text(json.dumps({**meta, "interests": said}))
    write_manifest(folder, "user_tower", json.loads((folder / "MANIFEST.json").read_text())["facts"])
    with pytest.raises(ArtifactError, match=rf"model\.onnx: gives 3 vectors .* meta\.json says {said} vectors? of"):
        load_user_tower(own, ModelVersion("golden", 1))


def test_a_batch_of_mixed_lengths_gives_what_single_calls_give(tower: UserTower) -> None:
    users = [user(n, device="phone") for n in (0, 1, 2, 5, 12, 40)]
    singles = np.concatenate([tower.embed([given]) for given in users])
    np.testing.assert_allclose(tower.embed(users), singles, rtol=0, atol=1e-6)


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=40))
def test_groups_hold_every_history_once_and_pad_little(lengths: list[int]) -> None:
    groups = length_groups(np.array(lengths))
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(lengths)))
    sizes = [np.array(lengths)[group] for group in groups]
    for first, second in pairwise(sizes):
        assert second.max() < first.min()
    padding = sum(int((own.max() - own).sum()) for own in sizes)
    assert padding <= sum(lengths) + 256 * 12  # at most twice as long, or not worth a call


def test_one_long_history_does_not_pad_the_short_ones() -> None:
    assert [group.tolist() for group in length_groups(np.array([51, 201, 51, 51] + [51] * 8))] == [
        [1],
        [0, *range(2, 12)],
    ]
    assert len(length_groups(np.array([51, 60, 13]))) == 1


def test_everything_that_is_told_matters(tower: UserTower) -> None:
    plain = user(5)
    others = [
        user(6),
        UserInput(plain.history, {"country": "DE", "height": 180.0}, {}, AT),
        UserInput(plain.history, plain.profile, {"device": "desk"}, AT),
        UserInput(plain.history, plain.profile, {}, AT + 5 * 3_600_000_000),
        UserInput(History(plain.history.item_ids, ["save"] * 5, plain.history.timestamps), plain.profile, {}, AT),
    ]
    vector = tower.embed([plain])[0]
    for other in others:
        assert np.abs(tower.embed([other])[0] - vector).max() > 1e-5


def test_only_the_newest_events_of_a_long_history_count(tower: UserTower) -> None:
    long = user(500)
    newest = History(long.history.item_ids[-12:], long.history.actions[-12:], long.history.timestamps[-12:])
    short = UserInput(newest, long.profile, {}, AT)
    np.testing.assert_allclose(tower.embed([long]), tower.embed([short]), rtol=0, atol=1e-6)


def test_unknown_users_and_items_are_ordinary(tower: UserTower) -> None:
    stranger = UserInput(History(["never seen"], ["never seen"], np.array([AT - 1])), {"country": "XX"}, {}, AT)
    vectors = tower.embed([stranger, UserInput()])
    assert np.isfinite(vectors).all()
    assert tower.embed([]).shape == (0, tower.dim)


def test_what_cannot_be_encoded_is_a_request_error_that_names_it(tower: UserTower) -> None:
    with pytest.raises(RequestError, match="height"):
        tower.embed([UserInput(profile={"height": "tall"})])
    with pytest.raises(RequestError, match="last_event_at"):
        tower.embed([UserInput(context={"last_event_at": 5})])
    with pytest.raises(RequestError, match="history"):
        tower.embed([UserInput(History(["i1", "i2"], ["click"], np.array([1, 2])))])


def test_many_threads_get_the_same_answers(tower: UserTower) -> None:
    users = [user(n % 14, device="phone") for n in range(60)]
    expected = [tower.embed([given]) for given in users]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda given: tower.embed([given]), users * 3))
    for have, want in zip(found, expected * 3, strict=True):
        np.testing.assert_allclose(have, want, rtol=0, atol=1e-6)


def test_serving_needs_no_torch() -> None:
    code = "import retrieval.towers.runtime, sys; assert 'torch' not in sys.modules, 'torch was imported'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_version_that_is_not_there(store: ArtifactStore, tiny: Tiny) -> None:
    with pytest.raises(NotFoundError, match="demo/99"):
        load_user_tower(store, ModelVersion("demo", 99))


@pytest.fixture
def damaged(store: ArtifactStore, tiny: Tiny, other: Tiny, tmp_path: Path) -> tuple[ArtifactStore, Path]:
    """A store of its own with copies of both versions, to be damaged."""
    shutil.copytree(store.locate("models"), tmp_path / "store" / "models")
    return ArtifactStore.create(str(tmp_path / "store"), cache=tmp_path / "cache"), tmp_path / "store/models/demo/1"


@pytest.mark.parametrize(
    "file",
    [
        "user_tower/model.onnx",
        "user_tower/tokens.bin",
        "user_tower/meta.json",
        "features/features.json",
        "user_tower/MANIFEST.json",
    ],
)
@pytest.mark.parametrize("how", ["truncated", "flipped", "swapped", "missing"])
def test_damage_is_refused_by_name(damaged: tuple[ArtifactStore, Path], file: str, how: str) -> None:
    copies, version = damaged
    path = version / file
    raw = bytearray(path.read_bytes())
    if how == "truncated":
        path.write_bytes(raw[: len(raw) // 2])
    elif how == "flipped":
        raw[len(raw) // 3] ^= 1
        path.write_bytes(raw)
    elif how == "missing":
        path.unlink()
    else:
        path.write_bytes((version.parent / "2" / file).read_bytes())
        if path.read_bytes() == bytes(raw):
            return  # the same in both versions: no damage
    with pytest.raises((ArtifactError, NotFoundError), match=path.name if file != "user_tower/MANIFEST.json" else None):
        load_user_tower(copies, ModelVersion("demo", 1))


def test_the_tower_of_another_version_in_its_place_is_refused(damaged: tuple[ArtifactStore, Path]) -> None:
    copies, version = damaged
    shutil.rmtree(version / "user_tower")
    shutil.copytree(version.parent / "2" / "user_tower", version / "user_tower")
    with pytest.raises(ArtifactError, match="demo@2, expected that of demo@1"):
        load_user_tower(copies, ModelVersion("demo", 1))


def test_features_of_another_space_are_refused(damaged: tuple[ArtifactStore, Path], tiny: Tiny) -> None:
    copies, version = damaged
    own = json.loads((version / "features" / "MANIFEST.json").read_text())["facts"]
    write_manifest(version / "features", "features", {**own, "space_id": "0" * 64})
    with pytest.raises(ArtifactError, match="space"):
        load_user_tower(copies, ModelVersion("demo", 1))


def test_an_onnx_file_that_is_none_is_refused_even_with_a_right_checksum(damaged: tuple[ArtifactStore, Path]) -> None:
    copies, version = damaged
    own = json.loads((version / "user_tower" / "MANIFEST.json").read_text())["facts"]
    (version / "user_tower" / "model.onnx").write_bytes(b"not a model")
    write_manifest(version / "user_tower", "user_tower", own)
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        load_user_tower(copies, ModelVersion("demo", 1))
