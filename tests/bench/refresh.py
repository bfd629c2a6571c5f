"""What a refresh costs beside a full build, over three decades of size.

    python -m tests.bench.refresh --json refresh.json

One row for each size and share of items that have moved (their activity is in another bucket), and one for the full
build. `encoded` counts items that went through the tower, `linked` those for
which links were looked for. Seconds:
  inputs_s   on processors: what the tower reads of every item, and its fingerprint, compared with the build before
  cpu_s      on processors (all threads together): all of it, with recall, checks, fsync and publishing
  encode_s   by the clock: the tower (with the inputs, for the full build), and what is taken over
  graph_s    by the clock: linking
The tower has the size of the default settings: an id, a category and an activity, 64 wide.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from retrieval.features import ITEM_ID
from retrieval.features.inputs import FeatureInput
from retrieval.index.build import BuildReport, build_index
from retrieval.index.config import IndexConfig
from retrieval.index.contents import Contents, make_contents
from retrieval.index.moves import find_moves, held_queries
from retrieval.storage import ArtifactStore
from retrieval.towers.config import TowerConfig
from retrieval.towers.item_tower import ItemNetwork
from retrieval.types import BuildId, ModelVersion, SpaceId
from tests.bench.report import Row, bench_main

_BUCKETS = 99
_CATEGORIES = 500
_CLUSTERED = 6.0

ResultT = TypeVar("ResultT")


class Tower:
    """An item tower of the default size, untrained."""

    def __init__(self, items: int) -> None:
        torch.manual_seed(1)
        config = TowerConfig()
        inputs = [
            FeatureInput(ITEM_ID, "item", "codes", items + 2, 1, None),
            FeatureInput("category", "item", "codes", _CATEGORIES + 2, 1, None),
            FeatureInput("lately", "item", "codes", _BUCKETS, 1, None, time_varying=True),
        ]
        self.version, self.space_id, self.dim = ModelVersion("bench", 1), SpaceId("b" * 64), config.dim
        self.encoded = 0
        self._network = ItemNetwork(inputs, config).eval()
        with torch.no_grad():  # what is learned lies in clusters
            self._network.features.parts[0].table.weight.mul_(_CLUSTERED)

    def inputs(self, items: pa.Table, at_us: int) -> dict[str, npt.NDArray[Any]]:
        del at_us
        return {name: items[name].to_numpy() for name in ("category", "lately")} | {ITEM_ID: items["code"].to_numpy()}

    def embed(self, inputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        self.encoded += len(inputs[ITEM_ID])
        with torch.inference_mode():
            found: npt.NDArray[np.float32] = self._network({k: torch.tensor(v) for k, v in inputs.items()}).numpy()
        return found


def catalogue(items: int) -> pa.Table:
    """Items with a category and a bucket of activity each: most have none."""
    random = np.random.default_rng(0)
    number = np.arange(items)
    return pa.table(
        {
            "item_id": [f"item-{i}" for i in number],
            "code": number + 2,
            "category": 2 + random.integers(0, _CATEGORIES, items),
            "lately": 1 + (random.random(items) < 0.05) * random.integers(0, _BUCKETS - 2, items),
        }
    )


def with_moves(items: pa.Table, share: float) -> pa.Table:
    """The same with the activity of a share of the items in another bucket."""
    random = np.random.default_rng(1)
    lately = items["lately"].to_numpy().copy()
    moved = random.choice(len(lately), round(share * len(lately)), replace=False)
    lately[moved] = 1 + lately[moved] % (_BUCKETS - 1)
    return items.set_column(items.column_names.index("lately"), "lately", pa.array(lately))


def measure(given: argparse.Namespace) -> Iterator[Row]:
    for items in given.items:
        root = Path(tempfile.mkdtemp(prefix="bench-refresh-"))
        try:
            yield from _measure_size(root, items, given)
        finally:
            shutil.rmtree(root)


def _measure_size(root: Path, items: int, given: argparse.Namespace) -> Iterator[Row]:
    config = IndexConfig(threads=given.threads, min_recall=0.0)
    store = ArtifactStore.create(str(root), cache=root / "cache")
    tower, table = Tower(items), catalogue(items)

    def contents(table: pa.Table, at_us: int) -> Contents:
        return make_contents(table, config, snapshot=str(at_us), at_us=at_us)

    whole, cpu_s = counted(
        lambda: build_index(store, tower, contents(table, 0), BuildId("bench", 1), config, show=False)
    )
    yield row("full build", items, whole, cpu_s)
    folder = root / whole.key
    for number, share in enumerate(given.moved, 2):
        then = with_moves(table, share)
        began = time.process_time()
        moves, inputs_s = counted(lambda then=then, n=number: find_moves(tower, contents(then, n), folder, config))
        tower.encoded = 0
        report = build_index(
            store,
            tower,
            contents(then, number),
            BuildId("bench", number),
            config,
            queries=held_queries(folder, 1),
            moves=moves,
            show=False,
        )
        cpu_s = time.process_time() - began
        assert tower.encoded == report.encoded == moves.encoded, "the tower runs on what has moved, and no more"
        yield row("refresh", items, report, cpu_s) | {"moved": share, "inputs_s": inputs_s}


def row(what: str, items: int, report: BuildReport, cpu_s: float) -> Row:
    return {
        "what": what,
        "items": items,
        "moved": 1.0,
        "encoded": report.encoded,
        "linked": report.linked,
        "inputs_s": 0.0,
        "encode_s": report.encode_s,
        "graph_s": report.graph_s,
        "cpu_s": cpu_s,
        "recall": report.recall,
    }


def counted(work: Callable[[], ResultT]) -> tuple[ResultT, float]:
    """What a call gives, and the processor seconds that it took."""
    began = time.process_time()
    return work(), time.process_time() - began


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--moved", type=float, nargs="+", default=[0.0001, 0.01, 0.1], help="shares that have moved")
    parser.add_argument("--threads", type=int, default=1)


def main() -> None:
    bench_main("Refresh: cost beside a full build", configure, lambda given: list(measure(given)))


if __name__ == "__main__":
    main()
