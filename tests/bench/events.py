"""Recording events over gRPC: rate and latency of RecordEvents, quietly and while the service is killed.

    python -m tests.bench.events --events 1000000 --kills 50 --json events.json

Two rows: one without kills, of a fifth of the events, and one with them. Events that were lost, or are there twice, and
users whose history is not what was recorded are counted; all three must be 0. Calls are those of a client in a process
of its own, `batch` events each, from several threads; `quiet` ones are those that no kill fell into.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.bench.report import Row, bench_main
from tests.event_crashes import CrashReport, Plan, record_through_kills


def measure(given: argparse.Namespace) -> Iterator[Row]:
    for events, kills in ((max(1, given.events // 5), 0), (given.events, given.kills)):
        plan = Plan(
            events=events,
            kills=kills,
            seed=given.seed,
            batch=given.batch,
            senders=given.senders,
            users=given.users,
            segment_events=given.segment_events,
            again=given.again,
        )
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            yield row(plan, record_through_kills(Path(folder) / "workspace", plan))


def row(plan: Plan, found: CrashReport) -> Row:
    p50, p99 = (np.percentile(found.quiet_calls_s, [50, 99]) * 1000).tolist()
    return {
        "events": plan.events,
        "kills": found.kills,
        "batch": plan.batch,
        "senders": plan.senders,
        "lost": found.lost,
        "twice": found.twice,
        "wrong_histories": found.wrong_histories,
        "events_per_s": round(plan.events / found.seconds),
        "quiet_p50_ms": round(p50, 2),
        "quiet_p99_ms": round(p99, 2),
        "longest_ms": round(float(found.calls_s.max()) * 1000, 1),
    }


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--batch", type=int, default=100, help="events in a call")
    parser.add_argument("--senders", type=int, default=8, help="threads that record at once")
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--segment-events", type=int, default=100_000)
    parser.add_argument("--again", type=float, default=0.05, help="share of calls that are made twice")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where workspaces are made: on the disk that is to be measured")


def main() -> None:
    bench_main("Events: rate and latency of RecordEvents", configure, lambda given: list(measure(given)))


if __name__ == "__main__":
    main()
