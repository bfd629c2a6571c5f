"""Rates of the indexer and the cost of a search, beside plain hnswlib on the same vectors.

    python -m tests.bench.index --json index.json

Rows, told apart by `what`:
  encode    items/s of an item tower with the default settings (id and a few features), through the indexer's batches
  build     items/s of a whole shard (encode, graph, canary, recall, checks, fsync, publish) and of its graph alone;
            the peer is one `add_items` call of plain hnswlib
  open      seconds to verify and open the shard; the peer is hnswlib's `load_index`, which verifies nothing
  search    us a query, one thread, one query a call, k = 100 (cpu_us: processor time, for a shared machine);
            recall against exact search; the peer is `knn_query` alone, asked for as many rows as our search weighs
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import pyarrow as pa
import torch

from retrieval.index import AnyOf, Filter, Query, Range
from retrieval.index.build import BuildReport, build_index
from retrieval.index.config import IndexConfig
from retrieval.index.contents import make_contents
from retrieval.index.encode import encode_items
from retrieval.index.shard import Shard, open_shard
from retrieval.storage import ArtifactStore
from retrieval.towers.config import TowerConfig
from retrieval.towers.loading import load_item_tower
from retrieval.types import BuildId, ModelVersion, SpaceId
from retrieval.workflows.evaluation.evaluate import with_item_ids
from tests.bench.report import Row, bench_main
from tests.tiny import tiny_dataset, tiny_version

K = 100


def embeddings(count: int, dim: int, seed: int) -> np.ndarray:
    """float32 [count, dim], L2-normalised: 500 clusters of Zipf-distributed size, as learned embeddings look."""
    centres = np.random.default_rng(0).normal(size=(500, dim))
    random = np.random.default_rng(seed)
    share = 1 / np.arange(1, 501)
    made = centres[random.choice(500, count, p=share / share.sum())] + 0.6 * random.normal(size=(count, dim))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


class TableTower:
    """An item tower that looks embeddings up, so that the indexer's own cost is measured."""

    def __init__(self, table: np.ndarray) -> None:
        self.version, self.space_id, self.dim = ModelVersion("bench", 1), SpaceId("b" * 64), table.shape[1]
        self._table = table

    def inputs(self, items: pa.Table, at_us: int) -> dict[str, np.ndarray]:
        return {"number": items["number"].to_numpy()}

    def embed(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        return self._table[inputs["number"]]


def measure(given: argparse.Namespace) -> Iterator[Row]:
    vectors = embeddings(given.items, given.dim, seed=1)
    queries = embeddings(given.queries, given.dim, seed=2)
    root = Path(tempfile.mkdtemp(prefix="bench-index-"))
    try:
        folder = root
        yield encode_row(root / "tower", given.items)
        for threads in given.threads:
            report, cost = build(root / str(threads), vectors, threads)
            yield from build_rows(report, cost, vectors, threads)
            folder = root / str(threads) / report.key / "shard-0-of-1"
        shard = open_shard(folder)
        yield open_row("retrieval", folder, lambda: open_shard(folder))
        plain = hnswlib.Index("ip", given.dim)
        yield open_row(
            "hnswlib", folder, lambda: plain.load_index(str(folder / "graph.hnsw"), max_elements=given.items)
        )
        yield from search_rows(shard, plain, vectors, queries, given.rounds)
    finally:
        shutil.rmtree(root)


def encode_row(root: Path, count: int) -> Row:
    dataset = tiny_dataset(root, users=200, items=count)
    store = ArtifactStore.create(str(root / "store"), cache=root / "cache")
    tiny_version(store, ModelVersion("bench", 1), dataset, towers=TowerConfig())
    tower = load_item_tower(store, ModelVersion("bench", 1))
    items = with_item_ids(dataset)
    blocks = encode_items(tower, items, dataset.histories.last_us, IndexConfig().batch_size)
    began = time.perf_counter()
    encoded = sum(len(block.vectors) for block in blocks)
    took = time.perf_counter() - began
    row = {"what": f"encode on {tower.device}", "engine": "retrieval", "threads": torch.get_num_threads()}
    return {**row, "items": encoded, "seconds": took, "items_per_s": encoded / took}


def build(root: Path, vectors: np.ndarray, threads: int) -> tuple[BuildReport, Row]:
    number = np.arange(len(vectors))
    items = pa.table({"item_id": [f"item-{i}" for i in number], "number": number, "decile": number % 10})
    config = IndexConfig(threads=threads, min_recall=0.0)
    store = ArtifactStore.create(str(root), cache=root / "cache")
    began, worked = time.perf_counter(), time.process_time()
    contents = make_contents(items, config, snapshot="bench", at_us=0)
    report = build_index(store, TableTower(vectors), contents, BuildId("bench", 1), config, show=False)
    return report, {"seconds": time.perf_counter() - began, "cpu_s": time.process_time() - worked}


def build_rows(report: BuildReport, cost: Row, vectors: np.ndarray, threads: int) -> Iterator[Row]:
    items = report.items
    shared = {"engine": "retrieval", "threads": threads, "items": items}
    yield {"what": "build: graph", **shared, "seconds": report.graph_s, "items_per_s": items / report.graph_s}
    yield {"what": "build: all", **shared, **cost, "items_per_s": items / cost["seconds"], "recall": report.recall}
    config = IndexConfig()
    plain = hnswlib.Index("ip", vectors.shape[1])
    plain.init_index(items, M=config.M, ef_construction=config.ef_construction, random_seed=config.seed)
    began, worked = time.perf_counter(), time.process_time()
    plain.add_items(vectors, num_threads=threads)
    took = time.perf_counter() - began
    peer = {"what": "build: graph", "engine": "hnswlib", "threads": threads, "items": items}
    yield {**peer, "seconds": took, "cpu_s": time.process_time() - worked, "items_per_s": items / took}


def open_row(engine: str, folder: Path, opened: Callable[[], Any]) -> Row:
    began = time.perf_counter()
    opened()
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {"what": "open", "engine": engine, "threads": 1, "seconds": time.perf_counter() - began, "bytes": size}


def search_rows(
    shard: Shard, plain: hnswlib.Index, vectors: np.ndarray, queries: np.ndarray, rounds: int
) -> Iterator[Row]:
    config = IndexConfig()
    plain.set_ef(1)
    numbers = np.arange(len(vectors))
    few = len(vectors) // 100
    random = np.random.default_rng(3)
    seen = [[f"item-{i}" for i in random.choice(numbers, 100, replace=False)] for _ in queries]
    cases: list[tuple[str, list[list[str]] | None, Filter | None, np.ndarray | None]] = [
        ("search", None, None, None),
        ("search, 100 exclusions", seen, None, None),
        ("search, half allowed", None, AnyOf("decile", (0, 1, 2, 3, 4)), numbers % 10 < 5),
        ("search, a tenth allowed", None, AnyOf("decile", (3,)), numbers % 10 == 3),
        (
            "search, a hundredth allowed",
            None,
            Range("number", 0, few - 1),
            numbers < few,
        ),
    ]
    for pool in (config.ef_search, config.ef_search + 100 // 4):

        def bare(i: int, pool: int = pool) -> Any:
            return plain.knn_query(queries[i : i + 1], k=pool, num_threads=1)

        cost = timed(bare, len(queries), rounds)
        yield {"what": "search", "engine": "hnswlib", "threads": 1, "k": K, "ef": pool, **cost}
    for what, exclude, wanted, allowed in cases:

        def ask(i: int, exclude: Any = exclude, wanted: Filter | None = wanted) -> list[str]:
            seen = () if exclude is None else exclude[i]
            return [*shard.search(queries[i : i + 1], [Query(K, filter=wanted, exclude=seen)])[0].item_ids]

        cost = timed(ask, len(queries), rounds)
        recall = np.mean([recall_of(ask(i), vectors, queries[i], allowed, exclude and exclude[i]) for i in range(200)])
        row = {"what": what, "engine": "retrieval", "threads": 1, "k": K, "ef": config.ef_search}
        yield {**row, **cost, "recall": recall}


def timed(call: Callable[[int], Any], count: int, rounds: int) -> Row:
    """us a call by the clock and by this thread's processor time, each the best of some rounds over all queries."""
    best = {"us": float("inf"), "cpu_us": float("inf")}
    for _ in range(rounds):
        began, worked = time.perf_counter(), time.thread_time()
        for i in range(count):
            call(i)
        took = {"us": time.perf_counter() - began, "cpu_us": time.thread_time() - worked}
        best = {name: min(best[name], seconds / count * 1e6) for name, seconds in took.items()}
    return best


def recall_of(
    found: list[str], vectors: np.ndarray, query: np.ndarray, allowed: np.ndarray | None, seen: list[str] | None
) -> float:
    scores = vectors @ query
    if allowed is not None:
        scores[~allowed] = -np.inf
    if seen is not None:
        scores[[int(item[5:]) for item in seen]] = -np.inf
    exact = {f"item-{i}" for i in np.argpartition(-scores, K)[:K] if scores[i] > -np.inf}
    return len(exact & {*found}) / len(exact)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many is taken")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="builds with each of these")


def main() -> None:
    bench_main("Index: build, open, search", configure, lambda given: list(measure(given)))


if __name__ == "__main__":
    main()
