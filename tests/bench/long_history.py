"""What long histories cost the served user tower: read in chunks, beside full attention over the same events.

    python -m tests.bench.long_history --json long.json

One user a call for each of `--events`: `ms` is the whole call on the clock, the other columns are processor time, which
another job on the machine stretches less: `cpu_ms` of the whole call, `lookup_ms` from item ids, actions and times to
codes, `onnx_ms` of the tower itself. `chunks` reads the newest `--length` events one by one and up to 16,000 before
them in chunks; `full` attends to every event. Then batches: 32 short histories, 31 of them and a long one, together and
(`padded`) without grouping by length. `rss_mb` is the most memory the process had so far; rows go from small to large.
Towers are as large as trained ones, and untrained.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from retrieval.data import DataConfig, Dataset, open_dataset
from retrieval.features import FeatureSpec
from retrieval.storage import ArtifactStore
from retrieval.towers import runtime
from retrieval.towers.config import TowerConfig
from retrieval.towers.runtime import UserTower, load_user_tower
from retrieval.towers.user_input import History, UserInput
from retrieval.types import ModelVersion
from tests.bench.report import Row, bench_main
from tests.tiny import tiny_version

AT = 1_702_000_000_000_000
OLDER = 16_000
SHORT, USERS = 50, 32
ACTIONS = ("click", "save", "hide", "share")


@dataclass
class Timed:
    """Something that is called as before, and counts how long that takes."""

    call: Callable[..., Any]
    seconds: list[float] = field(default_factory=list)

    def __call__(self, *given: Any, **named: Any) -> Any:
        began = time.process_time()
        found = self.call(*given, **named)
        self.seconds.append(time.process_time() - began)
        return found


class TimedSession:
    """An ONNX session whose runs are timed."""

    def __init__(self, session: Any) -> None:
        self.run, self.get_inputs = Timed(session.run), session.get_inputs


def bench_catalog(root: Path, items: int) -> Dataset:
    """A log in which every item occurs, so that all are known; what is measured brings its own histories."""
    (root / "data").mkdir(parents=True)
    events = {
        "user_id": np.arange(items) // 20,
        "item_id": [f"item-{n:08d}" for n in range(items)],
        "timestamp": pa.array(AT - np.arange(items, 0, -1) * 1_000_000),
        "action": np.array(ACTIONS)[np.arange(items) % len(ACTIONS)],
    }
    pq.write_table(pa.table(events), root / "data" / "events.parquet")
    return open_dataset(DataConfig(events="data/events.parquet"), root, show=False)


@contextmanager
def padded() -> Iterator[None]:
    """Within the block, towers compute all histories of a call together, padded to the longest."""
    grouped, runtime.length_groups = runtime.length_groups, lambda lengths: [np.arange(len(lengths))]
    try:
        yield
    finally:
        runtime.length_groups = grouped


def made_tower(
    root: Path, dataset: Dataset, given: argparse.Namespace, name: str, *, length: int, older: int
) -> UserTower:
    """A tower as it is served, that reads so many events."""
    store = ArtifactStore.create(str(root / "store"), cache=root / "cache")
    spec = FeatureSpec.model_validate({"history": {"length": length, "older": older}})
    towers = TowerConfig.model_validate({"dim": given.dim, "encoder": given.encoder})
    made = tiny_version(store, ModelVersion(name, 1), dataset, towers=towers, spec=spec)
    return load_user_tower(store, made.version)


def somebody(events: int, items: int, seed: int) -> UserInput:
    """A user with so many events, minutes apart."""
    rng = np.random.default_rng(seed)
    ids = [f"item-{n:08d}" for n in rng.integers(0, items, events).tolist()]
    actions = [ACTIONS[n] for n in rng.integers(0, len(ACTIONS), events).tolist()]
    return UserInput(History(ids, actions, AT - np.cumsum(rng.integers(1, 3600, events))[::-1] * 1_000_000), at=AT)


def fresh(user: UserInput) -> UserInput:
    """The same with new texts, as they come over the wire: nothing of them was hashed before."""
    ids, actions = (
        [text.encode().decode() for text in texts] for texts in (user.history.item_ids, user.history.actions)
    )
    return replace(user, history=History(ids, actions, user.history.timestamps))


def timed(tower: UserTower, users: Sequence[UserInput], seconds: float) -> Row:
    """Median times of calls with these users, for at least `seconds` and five calls."""
    session, lookup = tower._session, type(tower.features).encode_history
    run, encode = TimedSession(session), Timed(lookup)
    tower._session = run  # type: ignore[assignment]
    type(tower.features).encode_history = partialmethod(encode)  # type: ignore[assignment]
    wall: list[float] = []
    used: list[float] = []
    parts: list[tuple[float, float]] = []
    try:
        tower.embed(users)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or len(wall) < 5:
            users = [fresh(user) for user in users]
            run.run.seconds.clear()
            encode.seconds.clear()
            began, cpu = time.perf_counter(), time.process_time()
            tower.embed(users)
            wall.append(time.perf_counter() - began)
            used.append(time.process_time() - cpu)
            parts.append((sum(encode.seconds), sum(run.run.seconds)))
    finally:
        tower._session = session
        type(tower.features).encode_history = lookup  # type: ignore[method-assign]
    looked_up, onnx = np.median(parts, 0) * 1000
    return {
        "ms": float(np.median(wall) * 1000),
        "cpu_ms": float(np.median(used) * 1000),
        "lookup_ms": float(looked_up),
        "onnx_ms": float(onnx),
        "calls": len(run.run.seconds),
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def measure(given: argparse.Namespace) -> Sequence[Row]:
    """One user of each length in chunks, batches, then full attention."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        dataset = bench_catalog(root, given.items)
        chunked = made_tower(root, dataset, given, "chunks", length=given.length, older=OLDER)
        rows: list[Row] = []

        def add(reads: str, what: str, tower: UserTower, users: Sequence[UserInput]) -> None:
            row = {"encoder": given.encoder, "reads": reads, "histories": what}
            rows.append({**row, **timed(tower, users, given.seconds)})

        for events in given.events:
            add("chunks", f"{events}", chunked, [somebody(events, given.items, events)])
        short = [somebody(SHORT, given.items, seed) for seed in range(USERS)]
        mixed = [*short[:-1], somebody(OLDER, given.items, 1)]
        add("chunks", f"{USERS} × {SHORT}", chunked, short)
        add("chunks", f"{USERS - 1} × {SHORT}, {OLDER}", chunked, mixed)
        with padded():
            add("chunks, padded", f"{USERS - 1} × {SHORT}, {OLDER}", chunked, mixed)
        for events in given.full:
            tower = made_tower(root, dataset, given, f"full-{events}", length=events, older=0)
            add("full", f"{events}", tower, [somebody(events, given.items, events)])
            add("full", f"{USERS - 1} × {SHORT}, {events}", tower, [*short[:-1], somebody(events, given.items, 1)])
        return rows


def configure(parser: argparse.ArgumentParser) -> None:
    """Flags of this bench."""
    parser.add_argument("--encoder", default="hstu")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--length", type=int, default=200, help="newest events read one by one, beside chunks")
    parser.add_argument("--events", type=int, nargs="*", default=(100, 200, 1000, 4000, 16_000))
    parser.add_argument("--full", type=int, nargs="*", default=(200, 1000, 4000), help="events of full attention")
    parser.add_argument("--seconds", type=float, default=2.0, help="per row")


if __name__ == "__main__":
    bench_main("long histories: one call of the user tower", configure, measure)
