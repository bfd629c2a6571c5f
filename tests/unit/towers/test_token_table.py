"""The table that a served user tower looks history items up in lies beside the model."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from retrieval.data import Dataset
from retrieval.storage import ArtifactStore, write_manifest
from retrieval.towers.offline import item_inputs
from retrieval.towers.pair import TowerPair
from retrieval.towers.runtime import load_user_tower
from retrieval.training import export
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.user_inputs import inputs_at
from tests.tiny import TINY_FEATURES, Tiny, tiny_version

CHUNKED = TINY_FEATURES.model_copy(
    update={"history": TINY_FEATURES.history.model_copy(update={"length": 4, "older": 128})}
)


def user_tower(store: ArtifactStore, version: ModelVersion) -> Path:
    return Path(store.locate("models")) / version.model / str(version.version) / "user_tower"


def test_the_model_is_small_however_many_items_there_are(store: ArtifactStore, tiny: Tiny, dataset: Dataset) -> None:
    pair: TowerPair = tiny.pair  # type: ignore[assignment]
    folder = user_tower(store, tiny.version)
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    assert [weight.name for weight in model.graph.initializer if weight.data_location] == ["tokens"]
    assert not any(pair.item.codes in weight.dims for weight in model.graph.initializer if not weight.data_location)
    with torch.no_grad():
        items = item_inputs(dataset, tiny.features, dataset.histories.last_us)
        table = pair.token_table(items.codes(torch.arange(pair.item.codes)))
    found = np.fromfile(folder / "tokens.bin", np.float32).reshape(-1, pair.dim)
    np.testing.assert_array_equal(found, table.numpy())


def test_the_table_is_written_block_by_block(
    tiny: Tiny, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = item_inputs(dataset, tiny.features, dataset.histories.last_us)
    facts = {"space_id": tiny.space_id, "dim": 16}
    pair: TowerPair = tiny.pair  # type: ignore[assignment]
    written, rows = [], []
    with pair.item.id.register_forward_hook(lambda _module, _given, made: rows.append(len(made))):
        for size in (1 << 16, 7):
            monkeypatch.setattr(export, "_TABLE_ROWS_AT_ONCE", size)
            export.write_user_tower(tmp_path / str(size), pair, tiny.features, items, facts)
            written.append((tmp_path / str(size) / "tokens.bin").read_bytes())
    assert written[0] == written[1]
    assert rows[0] == pair.item.codes
    assert max(rows[1:]) == 7


@pytest.mark.parametrize("spec", [TINY_FEATURES, CHUNKED], ids=["plain", "chunked"])
def test_vectors_are_to_the_bit_those_of_a_model_with_the_table_in_it(dataset: Dataset, tmp_path: Path, spec) -> None:  # type: ignore[no-untyped-def]
    store = ArtifactStore.create(str(tmp_path / "store"), cache=tmp_path / "cache")
    made = tiny_version(store, ModelVersion("demo", 1), dataset, spec=spec, seed=3)
    shutil.copytree(store.locate("models"), tmp_path / "whole" / "models")
    whole = ArtifactStore.create(str(tmp_path / "whole"), cache=tmp_path / "cache-whole")
    folder = user_tower(whole, made.version)
    onnx.save(onnx.load(folder / "model.onnx"), folder / "model.onnx")  # with all its data, as one file
    (folder / "tokens.bin").unlink()
    write_manifest(folder, "user_tower", json.loads((folder / "MANIFEST.json").read_text())["facts"])

    users = inputs_at(dataset, made.features, np.concatenate([made.split.test, made.split.valid]))
    beside, inside = (load_user_tower(each, made.version).embed(users) for each in (store, whole))
    assert beside.tobytes() == inside.tobytes()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_table_is_mapped_where_it_is_served(store: ArtifactStore, tiny: Tiny) -> None:
    path = str(user_tower(store, tiny.version) / "tokens.bin")

    def mapped() -> int:
        return sum(line.rstrip().endswith(path) for line in Path("/proc/self/maps").read_text().splitlines())

    before = mapped()
    tower = load_user_tower(store, tiny.version)
    assert mapped() == before + 1
    del tower
    assert mapped() == before
