"""What is done with one engine in a process of its own: build, footprint, sweep, sweep with filters."""

from __future__ import annotations

import gc
import importlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
from numpy.typing import NDArray

from tests.bench.ann.data import Data, Floats, recall
from tests.bench.ann.engines import Effort, Engine
from tests.bench.ann.engines.engine import BUILD_THREADS
from tests.bench.ann.filters import FilterCase
from tests.bench.report import Row

Made = TypeVar("Made")
Clock = Callable[[], float]
ENOUGH = 0.999
"""A sweep ends with the first recall above it."""
_LIMIT_S, _AT_LEAST = 2.0, 20
"""Slow searches stop after so long, when they have answered so many queries."""
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""What rates are told by; processor time is of use on a shared machine."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def alone(threads: int, do: Callable[..., Made], *arguments: Any) -> Made:
    """`do(*arguments)` in a fresh process whose libraries use so many threads; RuntimeError where it dies."""
    with _environment(dict.fromkeys(_THREADS, str(threads))):
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            try:
                return pool.submit(do, *arguments).result()
            except BrokenProcessPool:
                raise RuntimeError("its process died") from None


def built(engine: Engine, data: Data) -> float:
    """Seconds it took to build the index, which lies in `place` then; one that lies there is not built again."""
    folder = place(engine, data)
    done = folder / "built.json"
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        seconds = alone(BUILD_THREADS, _build, engine, data, folder)
        done.write_text(json.dumps({"seconds": seconds}), encoding="utf-8")
    return float(json.loads(done.read_text(encoding="utf-8"))["seconds"])


def place(engine: Engine, data: Data) -> Path:
    """Where its index is kept."""
    slug = "".join(letter if letter.isalnum() or letter in ".=" else "-" for letter in engine.settings)
    return data.folder / f"{engine.name}-{slug}"


def _build(engine: Engine, data: Data, folder: Path) -> float:
    vectors = np.array(data.vectors)
    importlib.import_module(engine.module)
    began = time.perf_counter()
    index = engine.build(vectors)
    took = time.perf_counter() - began
    engine.save(index, folder)
    return took


def footprint(engine: Engine, data: Data, k: int) -> Row:
    """Bytes an item that the process grows by when it opens the index and answers all queries.

    `private_per_item` is anonymous memory; `shared_per_item` are pages of mapped files, which other processes that
    open the same index share. Where the system doesn't tell them apart, there is the sum only.
    """
    importlib.import_module(engine.module)
    queries, count = data.queries, len(data.vectors)
    efforts = engine.efforts(k, count)
    before = _resident()
    index = engine.open(place(engine, data))
    engine.search(index, queries, k, efforts[len(efforts) // 2])
    gc.collect()
    after = _resident()
    return {name: (after[name] - before[name]) / count for name in after}


def _resident() -> dict[str, int]:
    try:
        lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
    except OSError:
        return {"bytes_per_item": psutil.Process().memory_info().rss}
    of = {name: int(value.split()[0]) * 1024 for name, _, value in (line.partition(":") for line in lines)}
    rss, private = of["Rss"], of["Anonymous"]
    return {"bytes_per_item": rss, "private_per_item": private, "shared_per_item": rss - private}


def sweep(engine: Engine, data: Data, ks: list[int], clock: str) -> list[Row]:
    """A row for every k and effort up to the first with more than ENOUGH recall."""
    index, open_ms = _opened(engine, data)
    queries, truth = data.queries, data.truth
    rows: list[Row] = []
    for k in ks:
        efforts = engine.efforts(k, len(data.vectors))
        engine.search(index, queries, k, efforts[0])  # the first search touches everything for the first time
        for effort in efforts:
            row = {"k": k, "effort": label(effort), "filter": "", "open_ms": open_ms}
            row.update(_measured(engine, index, queries, truth, k, effort, CLOCKS[clock]))
            row["qps_single"] = _one_by_one(engine, index, queries, k, effort, CLOCKS[clock])
            rows.append(row)
            if row["recall"] > ENOUGH:
                break
    return rows


def _measured(
    engine: Engine, index: Any, queries: Floats, truth: NDArray[np.int64], k: int, effort: Effort, clock: Clock
) -> Row:
    began = clock()
    found = engine.search(index, queries, k, effort)
    took = clock() - began
    return {"recall": recall(found.astype(np.int64), truth, k), "qps": len(queries) / took}


def _one_by_one(engine: Engine, index: Any, queries: Floats, k: int, effort: Effort, clock: Clock) -> float:
    began, done = clock(), 0
    for query in queries:
        engine.search(index, query[None], k, effort)
        done += 1
        if done >= _AT_LEAST and clock() - began > _LIMIT_S:
            break
    return done / (clock() - began)


def sweep_filters(engine: Engine, data: Data, cases: list[FilterCase], k: int, clock: str) -> list[Row]:
    """A row for every filter and effort: the queries of a group in one call, over as many groups as time allows."""
    index, open_ms = _opened(engine, data)
    queries = data.queries
    rows: list[Row] = []
    for case in cases:
        groups = case.groups()
        selectors = [engine.selector(index, group.allowed) for group in groups]
        for effort in engine.filter_efforts(k, len(data.vectors)):
            took, shares, done = 0.0, [], 0
            for group, selector in zip(groups, selectors, strict=True):
                asked = queries[group.queries]
                began = CLOCKS[clock]()
                found = engine.search_filtered(index, asked, k, effort, selector)
                took += CLOCKS[clock]() - began
                shares.append(recall(found.astype(np.int64), group.truth, k))
                done += len(asked)
                if done >= _AT_LEAST and took > _LIMIT_S:
                    break
            row = {"k": k, "effort": label(effort), "filter": case.name, "open_ms": open_ms}
            rows.append({**row, "recall": float(np.mean(shares)), "qps": done / took, "queries": done})
            if shares and np.mean(shares) > ENOUGH:
                break
    return rows


def label(effort: Effort) -> str | int:
    """An effort as rows show it."""
    return effort if isinstance(effort, int) else "/".join(map(str, effort))


def _opened(engine: Engine, data: Data) -> tuple[Any, float]:
    """The index, and ms that opening took with its files in the page cache."""
    folder = place(engine, data)
    for path in folder.rglob("*"):
        if path.is_file():
            path.read_bytes()
    importlib.import_module(engine.module)
    began = time.perf_counter()
    index = engine.open(folder)
    return index, 1000 * (time.perf_counter() - began)


@contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
