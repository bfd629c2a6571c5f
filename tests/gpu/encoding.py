"""Encoding the corpus as the indexer does, against the CPU's float32."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from retrieval.towers.loading import ItemTower
from retrieval.towers.pair import build_pair
from retrieval.types import ModelVersion, SpaceId
from tests.gpu.report import Recorder
from tests.gpu.sections import Place
from tests.gpu.world import World, make_world, towers

# What an index build allows between a stored vector and the same item encoded again
_LEAST_COSINE = 0.998


def run(record: Recorder, place: Place) -> None:
    """All items of a catalog, those that were never seen in training among them."""
    with tempfile.TemporaryDirectory() as folder:
        users, items = (60, 40) if place.small else (2000, 50_000)
        world = make_world(Path(folder), users=users, items=items, events=20, length=12)
        table, at_us = with_ids(world), world.dataset.histories.last_us
        with record.check("vectors of the whole catalog") as figures:
            want = item_tower(world, torch.device("cpu"), small=place.small).encode(table, at_us)
            have = item_tower(world, place.device, small=place.small).encode(table, at_us)
            figures["items"] = len(have)
            figures.at_least("least_cosine", float((have * want).sum(1).min()), _LEAST_COSINE)
            figures.at_most("furthest", float(np.abs(have - want).max()), 2e-2)
            figures.at_most("off_length_1", float(np.abs(np.linalg.norm(have, axis=1) - 1).max()), 1e-5)


def item_tower(world: World, device: torch.device, *, small: bool) -> ItemTower:
    """A fresh item tower as the indexer would load it."""
    shape = towers("mean", small=small)
    network = build_pair(shape, world.features, seed=5).item
    version, space = ModelVersion("gpu", 1), SpaceId("0" * 64)
    return ItemTower(version, space, features=world.features, network=network, dim=shape.dim, device=device)


def with_ids(world: World) -> pa.Table:
    """The catalog as item towers read it, its ids as text in `item_id`."""
    items = world.dataset.items
    if "item_id" in items.column_names:
        items = items.drop_columns(["item_id"])
    return items.append_column("item_id", world.dataset.histories.item_ids)
