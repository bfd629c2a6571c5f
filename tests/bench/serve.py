"""How fast a pair of one candidate service and one ANN host answers, over gRPC, and where the time goes.

    python -m tests.bench.serve --json serve.json

A model version with shipped settings (its weights are not trained: that changes no figure here) and one shard are made
once, in `--work`, and used again. The candidate service is pinned to one core and the ANN host to another. On a machine
with two cores the load generator shares those two: it takes from them what `client_cpu_ms` says.

The row `in process` is `Workspace.retriever()` in one thread: the same engine and index without ports, its latency that
of a call from Python to Python.

Columns, in ms, as means over requests unless they say otherwise: `p50_ms`, `p99_ms` as a client sees them; of the
mean `mean_ms`, `tower_ms` is the user tower (of the whole micro-batch), `search_ms` the search within the ANN host
(likewise), `grpc_ms` both hops over the wire with their encoding, `queue_ms` the wait for a place in a micro-batch,
`rest_ms` user store, checks, merging. `…_cpu_ms` is processor time per request of each process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import grpc
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from retrieval.api.candidates import Candidates
from retrieval.api.workspace import Workspace
from retrieval.serving.candidates.servicer import SERVICE
from retrieval.serving.local_fleet.supervisor import answers, free_port
from retrieval.v1 import candidates_pb2
from retrieval.workflows.workspace.opening import open_workspace
from tests.bench.report import Row, bench_main

METHOD = f"/{SERVICE}/GetCandidates"
USERS = 2000
START_US = 1_700_000_000_000_000
SETTINGS = """
[model]
name = "bench"
[data]
users = "data/users.parquet"
items = "data/items.parquet"
events = "data/events.parquet"
context_columns = ["device"]
"""


def main(arguments: Sequence[str] | None = None) -> None:
    bench_main("Serving: one candidate service, one ANN host", _flags, measure, arguments)


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--history", type=int, default=100)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--interests", type=int, default=1, help="vectors a user, each a search of its own")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 32, 64])
    parser.add_argument("--seconds", type=float, default=10.0, help="per number of clients")
    parser.add_argument("--work", type=Path, default=Path("build/bench-serve"), help="what was made is used again")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")


def measure(given: argparse.Namespace) -> list[Row]:
    several = f"-{given.interests}" if given.interests > 1 else ""
    root = given.work.resolve() / f"{given.items}-{given.history}{several}"
    prepare(root, given.items, given.history, given.interests)
    rows = [_in_process_row(root, given.overrides, given.k, given.seconds)]
    with pair(root, given.overrides) as (address, processes):
        requests = _requests(given.k)
        asyncio.run(_load(address, requests, clients=4, seconds=2.0))  # warm
        return rows + [_row(address, requests, processes, clients, given.seconds) for clients in given.clients]


def _in_process_row(root: Path, overrides: Sequence[str], k: int, seconds: float) -> Row:
    with Workspace(open_workspace(root, overrides)).retriever(show=False) as retriever:

        def ask(number: int) -> Candidates:
            user = number % USERS
            return retriever.candidates(str(user), k, context={"device": "phone" if user % 2 else "desk"})

        for number in range(200):  # warm
            ask(number)
        latencies, answers = [], []
        began, spent = time.perf_counter(), time.process_time()
        while time.perf_counter() < began + seconds:
            begin = time.perf_counter()
            answers.append(ask(len(answers)).timings)
            latencies.append(time.perf_counter() - begin)
        took, spent = time.perf_counter() - began, time.process_time() - spent
    mean = fmean(latencies) * 1000
    tower, search = (fmean(timings[name] for timings in answers) / 1000 for name in ("tower", "host_search"))
    return {
        "clients": "in process",
        "qps": round(len(latencies) / took, 1),
        "p50_ms": round(float(np.percentile(latencies, 50)) * 1000, 3),
        "p99_ms": round(float(np.percentile(latencies, 99)) * 1000, 3),
        "mean_ms": round(mean, 3),
        "tower_ms": round(tower, 3),
        "search_ms": round(search, 3),
        "grpc_ms": 0.0,
        "queue_ms": 0.0,
        "rest_ms": round(mean - tower - search, 3),
        "batch": 1.0,
        "client_cpu_ms": round(spent / len(latencies) * 1000, 3),
    }


@dataclass(frozen=True)
class Load:
    """What a load brought: latency in s of each request, the answers, and how long it took."""

    latencies: list[float]
    answers: list[bytes]
    seconds: float


async def _load(address: str, requests: Sequence[bytes], *, clients: int, seconds: float) -> Load:
    """`clients` callers, each asking again as soon as it has its answer. Messages are made before and read after."""
    latencies: list[float] = []
    answers: list[bytes] = []
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(METHOD)
        end = time.perf_counter() + seconds

        async def ask(number: int) -> None:
            position = number * 7919
            while (begin := time.perf_counter()) < end:
                answers.append(await call(requests[position % len(requests)]))
                latencies.append(time.perf_counter() - begin)
                position += 1

        began = time.perf_counter()
        await asyncio.gather(*(ask(number) for number in range(clients)))
    return Load(latencies, answers, time.perf_counter() - began)


def _one_by_one(address: str, requests: Sequence[bytes], seconds: float) -> Load:
    """One blocking caller: without the event loop between the wire and the clock."""
    latencies: list[float] = []
    answers: list[bytes] = []
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(METHOD)
        began = time.perf_counter()
        while time.perf_counter() < began + seconds:
            begin = time.perf_counter()
            answers.append(call(requests[len(answers) % len(requests)]))
            latencies.append(time.perf_counter() - begin)
    return Load(latencies, answers, time.perf_counter() - began)


def _row(address: str, requests: Sequence[bytes], processes: dict[str, psutil.Process], clients: int, s: float) -> Row:
    before = {name: _cpu(process) for name, process in processes.items()}
    if clients == 1:
        load = _one_by_one(address, requests, s)
    else:
        load = asyncio.run(_load(address, requests, clients=clients, seconds=s))
    cpu = {name: _cpu(process) - before[name] for name, process in processes.items()}
    count = len(load.latencies)
    timings = [candidates_pb2.GetCandidatesResponse.FromString(answer).timings for answer in load.answers]

    def mean(*fields: str) -> float:
        return fmean(sum(getattr(timing, field) for field in fields) for timing in timings) / 1000

    total, wire = mean("total_us"), fmean(load.latencies) * 1000
    tower, search, queue = mean("tower_us"), mean("host_search_us"), mean("queue_us")
    grpc_ms = (wire - total) + (mean("search_us") - search)
    return {
        "clients": clients,
        "qps": round(count / load.seconds, 1),
        "p50_ms": round(float(np.percentile(load.latencies, 50)) * 1000, 3),
        "p99_ms": round(float(np.percentile(load.latencies, 99)) * 1000, 3),
        "mean_ms": round(wire, 3),
        "tower_ms": round(tower, 3),
        "search_ms": round(search, 3),
        "grpc_ms": round(grpc_ms, 3),
        "queue_ms": round(queue, 3),
        "rest_ms": round(wire - tower - search - grpc_ms - queue, 3),
        "batch": round(mean("batch_size") * 1000, 2),
        **{f"{name}_cpu_ms": round(spent / count * 1000, 3) for name, spent in cpu.items()},
    }


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _requests(k: int) -> list[bytes]:
    made = []
    for user in range(USERS):
        request = candidates_pb2.GetCandidatesRequest(user_id=str(user), k=k)
        request.context["device"].text = "phone" if user % 2 else "desk"
        made.append(request.SerializeToString())
    return made


@contextmanager
def pair(root: Path, overrides: Sequence[str]) -> Iterator[tuple[str, dict[str, psutil.Process]]]:
    """A candidate service on one core and an ANN host on another, while the block runs."""
    cores = sorted(psutil.Process().cpu_affinity() or range(os.cpu_count() or 1))
    ports = free_port(), free_port()
    shared = ["-w", str(root), *(part for override in overrides for part in ("--set", override))]
    commands = {
        "candidates": ["candidates", "--port", str(ports[0]), "--host", f"127.0.0.1:{ports[1]}"],
        "ann": ["ann", "--shard", "0", "--port", str(ports[1]), "--build", "b1", "--host-id", "ann-0"],
    }
    running: list[subprocess.Popen[bytes]] = []
    try:
        for core, (name, command) in zip((cores[0], cores[-1]), commands.items(), strict=True):
            with (root / f"{name}.log").open("wb") as log:
                argv = [sys.executable, "-m", "retrieval.cli.main", "serve", *command, *shared]
                process = subprocess.Popen(argv, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
            psutil.Process(process.pid).cpu_affinity([core])
            running.append(process)
        address = f"127.0.0.1:{ports[0]}"
        by = time.monotonic() + 60
        while not answers(address, SERVICE):
            if time.monotonic() > by:
                raise SystemExit(f"the pair did not come up; see the logs in {root}")
            time.sleep(0.1)
        processes = {name: psutil.Process(p.pid) for name, p in zip(commands, running, strict=True)}
        yield address, {**processes, "client": psutil.Process()}
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(20)


def prepare(root: Path, items: int, history: int, interests: int = 1) -> None:
    """Data, a version, a build and a user store, unless they are there from before."""
    done = root / "done.json"
    if done.is_file():
        return
    print(f"making a version and an index of {items:,} items in {root} (some minutes) …", file=sys.stderr)
    root.mkdir(parents=True, exist_ok=True)
    (root / "retrieval.toml").write_text(f"{SETTINGS}[towers]\ninterests = {interests}\n")
    _write_data(root, items, history)
    _export_and_index(root, history)
    done.write_text(json.dumps({"items": items, "history": history}))


def _write_data(root: Path, items: int, history: int) -> None:
    rng = np.random.default_rng(1)
    folder = root / "data"
    folder.mkdir(exist_ok=True)
    events = USERS * history
    # every item occurs, so that the vocabulary has all of them; the rest by Zipf
    item = np.concatenate([np.arange(items), rng.zipf(1.2, events) % items])[-events:] if events < items else None
    item = rng.integers(0, items, events) if item is None else item
    table = {
        "user_id": np.repeat(np.arange(USERS), history).astype(str),
        "item_id": item.astype(str),
        "timestamp": START_US + rng.integers(0, 30 * 86_400_000_000, events),
        "action": rng.choice(["click", "save"], events),
        "device": rng.choice(["phone", "desk"], events),
    }
    pq.write_table(pa.table(table), folder / "events.parquet")
    people = {"user_id": np.arange(USERS).astype(str), "country": rng.choice(["DE", "FR", "BR"], USERS)}
    pq.write_table(pa.table({**people, "age": rng.integers(18, 80, USERS)}), folder / "users.parquet")
    things = {"item_id": np.arange(items).astype(str), "category": rng.integers(0, 50, items).astype(str)}
    pq.write_table(pa.table({**things, "price": rng.uniform(1, 100, items)}), folder / "items.parquet")


def _export_and_index(root: Path, history: int) -> None:
    from retrieval.data import open_dataset
    from retrieval.features import FeatureSpec
    from retrieval.index.build import build_index
    from retrieval.index.contents import make_contents
    from retrieval.towers.loading import load_item_tower
    from retrieval.types import BuildId, ModelVersion
    from retrieval.workflows.fleet.users import load_users
    from retrieval.workflows.workspace.upgrade import upgrade_workspace
    from tests.serving_fleet import register
    from tests.tiny import tiny_version

    here = open_workspace(root)
    upgrade_workspace(here)
    dataset = open_dataset(here.settings.data, root)
    spec = FeatureSpec.model_validate_json(
        json.dumps(
            {
                "history": {"length": history},
                "user": [{"kind": "categorical", "name": "country"}, {"kind": "numeric", "name": "age"}],
                "item": [{"kind": "categorical", "name": "category"}],
                "context": [
                    {"kind": "categorical", "name": "device"},
                    {"kind": "time", "name": "now", "parts": ["hour", "weekday"]},
                    {"kind": "since_last", "name": "since_last"},
                ],
            }
        )
    )
    store, version = here.store(), ModelVersion("bench", 1)
    if not store.exists("models/bench/1"):
        tiny_version(store, version, dataset, towers=here.settings.towers, spec=spec)
    if not store.exists("builds/bench/1"):
        config = here.settings.index
        contents = make_contents(dataset.items, config, snapshot=dataset.snapshot, at_us=dataset.histories.last_us)
        build_index(store, load_item_tower(store, version), contents, BuildId("bench", 1), config)
    load_users(here)
    with closing(here.registry()) as registry:
        register(registry, store, version, BuildId("bench", 1))


if __name__ == "__main__":
    main()
