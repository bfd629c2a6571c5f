"""Opening a shard: what it takes before and after its verification, and the memory of each process that opens it.

    python -m tests.bench.open --items 1000000 --json open.json

One shard of clustered vectors with two attributes is built into --work, once, and used again. Every row is measured in
processes of its own, the files in the page cache. Rows, told apart by `what`:
  verify and open      `open_shard` as it opens a shard for the first time here: every byte is read and checked
  open again           `open_shard` of a shard that was verified: the best, median and worst of `--rounds` processes;
                       first_ms is the time from there to the first answer, the ratio is to the peer's ms
  load_index           the peer: hnswlib reads the shard's graph.hnsw, in the same run, and checks nothing
  memory               MB that opening and answering 1,000 queries (exclusions, filters on both attributes) add to a
                       process: resident ones, private (anonymous) and those of mapped files; process_… counts the
                       interpreter and its libraries too
  memory, second process   the same while the first one has the shard open (pss_mb counts a shared page by its share);
                       the ratio is its private MB over the first one's resident MB
  memory (hnswlib)     what is added to a process that loads graph.hnsw
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import pyarrow as pa

from retrieval.index import AnyOf, Filter, Query, Range
from retrieval.index.config import IndexConfig
from retrieval.index.shard import open_shard
from retrieval.index.verified_shards import VerifiedShards
from tests.bench.report import Row, bench_main

DIM, K, QUERIES, EXCLUDED = 64, 100, 1000, 100
COLOURS = ("red", "green", "blue", "white")
# Files that changed in the last two seconds are not remembered as verified
SETTLED_S = 3.0


def measure(given: argparse.Namespace) -> Iterator[Row]:
    shard = built(given.work, given.items, given.threads)
    size = sum(path.stat().st_size for path in shard.iterdir()) / 1e6
    record = given.work / f"verified-{given.items}"
    for path in record.glob("*.json"):
        path.unlink()
    first = alone(timed_open, shard, record)
    yield {"what": "verify and open", "engine": "retrieval", "items": given.items, "shard_mb": size, **first}
    again = best([alone(timed_open, shard, record) for _ in range(given.rounds)])
    peer = best([alone(timed_load, shard, record) for _ in range(given.rounds)])
    yield {"what": "open again", "engine": "retrieval", **again, "ratio": again["ms"] / peer["ms"]}
    yield {"what": "load_index", "engine": "hnswlib", **peer}
    yield from memory(shard, record, given.items)
    yield {"what": "memory", "engine": "hnswlib", **alone(loaded_memory, shard, record)}


def built(work: Path, items: int, threads: int) -> Path:
    """The folder of a shard of `items`, built where it isn't there yet, with queries beside it."""
    # Here, so that the processes that are measured import what a host does, not torch
    from retrieval.index.build import build_index
    from retrieval.index.contents import make_contents
    from retrieval.storage import ArtifactStore
    from retrieval.types import BuildId
    from tests.bench.index import TableTower, embeddings

    root = work / f"{items}x{DIM}"
    done = root / "shard.json"
    if not done.is_file():
        number = np.arange(items)
        columns = {"item_id": [f"item-{i}" for i in number], "number": number}
        table = pa.table({**columns, "colour": np.array(COLOURS)[number % len(COLOURS)]})
        config = IndexConfig(threads=threads, min_recall=0.0, attributes=("number", "colour"))
        store = ArtifactStore.create(str(root), cache=root / "cache")
        contents = make_contents(table, config, snapshot="bench", at_us=0)
        report = build_index(store, TableTower(embeddings(items, DIM, seed=1)), contents, BuildId("bench", 1), config)
        np.save(root / report.key / "shard-0-of-1.queries.npy", embeddings(QUERIES, DIM, seed=2))
        done.write_text(json.dumps(str(Path(report.key) / "shard-0-of-1")))
        time.sleep(SETTLED_S)
    return root / json.loads(done.read_text())


def queries_of(shard: Path) -> np.ndarray:
    """float32 [1000, D]: other points of the same clusters."""
    return np.load(shard.with_name(shard.name + ".queries.npy"))


def alone(work: Callable[[Path, Path], Row], shard: Path, record: Path) -> Row:
    """What `work` returns in a fresh process."""
    with Other(work, shard, record) as other:
        return other.result()


class Other:
    """A fresh process that runs `work` and stays, with all that it opened, until the block is left."""

    def __init__(self, work: Callable[[Path, Path], Row], shard: Path, record: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_run, args=(there, work, shard, record))
        self._process.start()
        there.close()

    def __enter__(self) -> Other:
        return self

    def result(self) -> Row:
        return self._here.recv()

    def __exit__(self, *_: object) -> None:
        self._here.close()
        self._process.join()


_kept: list[Any] = []  # what a process has open, until it ends


def _run(there: Connection, work: Callable[[Path, Path], Row], shard: Path, record: Path) -> None:
    there.send(work(shard, record))
    there.poll(None)  # until the other end is closed


def timed_open(shard: Path, record: Path) -> Row:
    verified = VerifiedShards(record)
    query = queries_of(shard)[:1]
    began = time.perf_counter()
    opened = open_shard(shard, verified=verified)
    ready = time.perf_counter()
    opened.search(query, [Query(K)])
    return {"ms": (ready - began) * 1e3, "first_ms": (time.perf_counter() - ready) * 1e3}


def timed_load(shard: Path, record: Path) -> Row:
    del record
    query = queries_of(shard)[:1]
    index = hnswlib.Index("ip", DIM)
    began = time.perf_counter()
    index.load_index(str(shard / "graph.hnsw"))
    ready = time.perf_counter()
    index.set_ef(IndexConfig().ef_search)
    index.knn_query(query, k=K, num_threads=1)
    return {"ms": (ready - began) * 1e3, "first_ms": (time.perf_counter() - ready) * 1e3}


def best(rows: list[Row]) -> Row:
    """The fastest of some runs, with the median and the slowest beside it."""
    took = [row["ms"] for row in rows]
    return {**min(rows, key=lambda row: row["ms"]), "median_ms": statistics.median(took), "worst_ms": max(took)}


def memory(shard: Path, record: Path, items: int) -> Iterator[Row]:
    with Other(opened_memory, shard, record) as first:
        one = first.result()
        yield {"what": "memory", "engine": "retrieval", "items": items, **one}
        with Other(opened_memory, shard, record) as second:
            two = second.result()
    share = two["private_mb"] / one["resident_mb"]
    yield {"what": "memory, second process", "engine": "retrieval", **two, "ratio": share}


def opened_memory(shard: Path, record: Path) -> Row:
    before = resident()
    opened = open_shard(shard, verified=VerifiedShards(record))
    _kept.append(opened)
    random = np.random.default_rng(3)
    filters: list[Filter | None] = [None, None, AnyOf("colour", ("red",)), Range("number", 0, opened.count // 2)]
    queries = queries_of(shard)
    for i in range(QUERIES):
        seen = [f"item-{row}" for row in random.integers(0, opened.count, EXCLUDED)]
        opened.search(queries[i : i + 1], [Query(K, filter=filters[i % len(filters)], exclude=seen)])
    return added(before)


def loaded_memory(shard: Path, record: Path) -> Row:
    del record
    before = resident()
    index = hnswlib.Index("ip", DIM)
    index.load_index(str(shard / "graph.hnsw"))
    _kept.append(index)
    index.set_ef(IndexConfig().ef_search)
    for query in queries_of(shard):
        index.knn_query(query, k=K, num_threads=1)
    return added(before)


def added(before: Row) -> Row:
    now = resident()
    whole = {f"process_{name}": now[name] for name in ("resident_mb", "private_mb")}
    return {**{name: now[name] - before[name] for name in now}, **whole}


def resident() -> Row:
    """MB of this process: resident, private (anonymous), of files, and proportional (Linux's smaps_rollup)."""
    found = {}
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        name, kilobytes, _ = line.split()
        found[name.rstrip(":")] = int(kilobytes) * 1024 / 1e6
    files = found["Rss"] - found["Anonymous"]
    return {"resident_mb": found["Rss"], "private_mb": found["Anonymous"], "files_mb": files, "pss_mb": found["Pss"]}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7, help="processes that open it again, and that load the peer")
    parser.add_argument("--threads", type=int, default=0, help="of the build; 0: all cores")
    parser.add_argument("--work", type=Path, default=Path("build/bench-open"), help="shards are kept there")


def main() -> None:
    bench_main("Open: time and memory", configure, lambda given: list(measure(given)))


if __name__ == "__main__":
    main()
