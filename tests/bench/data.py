"""Rate and peak memory of validation and of building histories, against DuckDB sorting the same events.

    python -m tests.bench.data --events 5000000 --json data.json

Each measurement is a process of its own, so that its peak memory is its own. The peer does the heart of the job only:
it writes (user, item, time) in order of user and time; no check, no ids, no codes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.bench.report import Row, bench_main

_EVENTS_PER_USER = 100
_DAYS = 30


def main() -> None:
    """Run the bench."""
    bench_main("Data: validation and histories", _configure, _measure)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, default=5_000_000, help="how many events are synthesised")
    parser.add_argument("--items", type=int, default=100_000, help="how many items there are at first")
    parser.add_argument("--memory-limit-mb", type=int, default=1024, help="for building histories, and for the peer")
    parser.add_argument("--text-ids", action="store_true", help="ids as text instead of integers")
    parser.add_argument("--folder", type=Path, help="where the files go while it runs; a temporary folder if not given")
    parser.add_argument("--peer", choices=("duckdb", "none"), default="duckdb", help="what to compare with")


def _measure(given: argparse.Namespace) -> list[Row]:
    root = Path(tempfile.mkdtemp(prefix="bench-data-", dir=given.folder))
    try:
        steps: list[tuple[str, Callable[..., dict[str, Any]]]] = [
            ("synthesise", synthesise),
            ("validate", check),
            ("histories", build),
        ]
        if given.peer == "duckdb":
            steps.append(("DuckDB ORDER BY user, time", order_with_duckdb))
        rows = []
        for name, step in steps:
            rows.append({"step": name, **_alone(step, root, given)})
            sys.stderr.write(f"{rows[-1]}\n")
        return rows
    finally:
        shutil.rmtree(root, ignore_errors=True)


def synthesise(root: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Write the events that the other steps read."""
    from retrieval.simulation.synthetic import SynthConfig, write_synthetic

    users = max(100, given.events // _EVENTS_PER_USER)
    config = SynthConfig(
        users=users,
        items=given.items,
        days=10 * _DAYS,
        events_per_user_day=_EVENTS_PER_USER / _DAYS,
        new_users_per_day=users // 200,
        new_items_per_day=given.items // 500,
        int_ids=not given.text_ids,
        max_events=given.events,
    )
    made = write_synthetic(config, root / "data", show=False)
    return {"events": made.events, "users": made.users, "items": made.items}


def check(root: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Check all events."""
    from retrieval.data.reading.validation import validate_events

    report = validate_events(_config(given), root, root / "rejects.parquet")
    return {"events": report.rows}


def build(root: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Build the histories, from hashing the inputs to the manifest."""
    from retrieval.data.dataset import open_dataset

    histories = open_dataset(_config(given), root, show=False).histories
    return {"events": histories.events, "users": histories.users, "items": len(histories.item_ids)}


def order_with_duckdb(root: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Let DuckDB put the events in order under the same memory limit, and write the columns as Parquet."""
    import duckdb

    connection = duckdb.connect(
        config={"memory_limit": f"{given.memory_limit_mb}MB", "temp_directory": str(root / "spill")}
    )
    source, target = str(root / "data/events/*.parquet"), str(root / "ordered.parquet")
    query = f"SELECT user_id, item_id, timestamp, action, device FROM '{source}' ORDER BY user_id, timestamp"
    count = connection.execute(f"COPY ({query}) TO '{target}' (FORMAT parquet, COMPRESSION uncompressed)").fetchone()
    return {"events": count[0] if count else 0}


def _config(given: argparse.Namespace) -> Any:
    from retrieval.data.config import DataConfig

    return DataConfig(context_columns=("device",), memory_limit_mb=given.memory_limit_mb)


def _alone(step: Callable[..., dict[str, Any]], root: Path, given: argparse.Namespace) -> Row:
    """Run a step in a fresh process: its figures, seconds, events a second, and the peak of its own memory."""
    context = multiprocessing.get_context("spawn")
    inbox, outbox = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(outbox, step, root, given))
    process.start()
    outbox.close()
    try:
        found: Row = inbox.recv()
    except EOFError:
        process.join()
        return {"failed": f"exit {process.exitcode}"}
    process.join()
    return found


def _run(outbox: Any, step: Callable[..., dict[str, Any]], root: Path, given: argparse.Namespace) -> None:
    own = _OwnMemory()
    started = time.perf_counter()
    try:
        found = step(root, given)
    except Exception as error:
        outbox.send({"failed": f"{type(error).__name__}: {error}"[:300]})
        return
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    outbox.send(
        {
            **found,
            "seconds": round(seconds, 2),
            "events_per_s": round(found["events"] / seconds),
            "peak_rss_mb": round(peak),
            "peak_own_mb": own.stop(),
        }
    )


class _OwnMemory:
    """Watches memory that only this process has: what it allocated, without the pages of files that it maps."""

    def __init__(self) -> None:
        self._peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._over.set()
        self._thread.join()
        return round(self._peak / 1e6)

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._over.wait(0.05):
            memory = process.memory_info()
            self._peak = max(self._peak, memory.rss - getattr(memory, "shared", 0))


if __name__ == "__main__":
    main()
