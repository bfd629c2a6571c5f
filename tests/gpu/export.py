"""From weights on CUDA to what is served on the CPU: ONNX beside the towers that it was exported from."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from retrieval.storage import ArtifactStore
from retrieval.towers.encoders import ENCODERS
from retrieval.towers.loading import load_item_tower
from retrieval.towers.offline import item_inputs
from retrieval.towers.pair import build_pair
from retrieval.towers.runtime import load_user_tower
from retrieval.training.export import export_version
from retrieval.training.vectors import PairVectors
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.user_inputs import inputs_at
from tests.gpu.encoding import with_ids
from tests.gpu.report import Recorder
from tests.gpu.sections import Place
from tests.gpu.world import make_world, towers

_BOUND = 1e-4


def run(record: Recorder, place: Place) -> None:
    """Every encoder: what ONNX Runtime embeds on the CPU is what the towers did on the device, in float32."""
    with tempfile.TemporaryDirectory() as folder:
        users, items, events, length = (60, 40, 20, 12) if place.small else (300, 500, 80, 50)
        root = Path(folder)
        world = make_world(root / "world", users=users, items=items, events=events, length=length)
        store = ArtifactStore.create(str(root / "store"), cache=root / "cache")
        inputs = item_inputs(world.dataset, world.features, world.dataset.histories.last_us)
        vectors = PairVectors(world.dataset, world.features, inputs)
        ends = world.dataset.histories.offsets[1:] - 1
        rows = np.unique(ends[ends > 0])[:128]
        for number, encoder in enumerate(ENCODERS.named, 1):
            with record.check(encoder) as figures:
                version = ModelVersion("gpu", number)
                pair = build_pair(towers(encoder, small=place.small), world.features, seed=number)
                pair = pair.to(place.device).eval()
                users_there, items_there = vectors.users(pair, rows), vectors.items(pair)
                export_version(store, version, pair, world.features, inputs, facts={})
                served = load_user_tower(store, version).embed(inputs_at(world.dataset, world.features, rows))
                figures.at_most("users", float(np.abs(served - users_there).max()), _BOUND)
                tower = load_item_tower(store, version, device="cpu")
                encoded = tower.encode(with_ids(world), world.dataset.histories.last_us)
                figures.at_most("items", float(np.abs(encoded - items_there).max()), _BOUND)
