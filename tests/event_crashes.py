"""Recording events over gRPC while the event service is killed again and again, and what is found afterwards.

report = record_through_kills(folder, events=2000, kills=4, seed=1)
assert report.lost == report.twice == 0
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from retrieval.data.event_log.event import Event
from retrieval.data.reading.sources import list_files
from retrieval.serving.local_fleet.supervisor import answers, free_port
from retrieval.serving.users.store import UserStore
from retrieval.serving.wire.event_client import EventClient
from retrieval.workflows.workspace import create_workspace

AT = 1_700_000_000_000_000
_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Plan:
    """How events are recorded: by so many senders at once, `batch` a call, some calls made again."""

    events: int
    kills: int
    seed: int = 1
    batch: int = 100
    senders: int = 4
    users: int = 997
    segment_events: int = 100_000
    again: float = 0.05
    """Share of calls of before that are made a second time."""


@dataclass(frozen=True)
class CrashReport:
    """What was found in segments and histories, and how long calls took: all, and those that no kill fell into."""

    kills: int
    lost: int
    twice: int
    wrong_histories: int
    left_over: int
    """Files of journals that are there after the end."""
    seconds: float
    calls_s: np.ndarray
    quiet_calls_s: np.ndarray


@dataclass
class _Progress:
    """Shared by senders and whoever kills."""

    acknowledged: int = 0
    lives: int = 0
    calls_s: list[float] = field(default_factory=list)
    quiet_calls_s: list[float] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def numbered(number: int, users: int) -> Event:
    """The event of a number."""
    return Event(f"event-{number}", f"u{number % users}", f"i{number % 1009}", AT + number, action="click")


def record_through_kills(folder: Path, plan: Plan) -> CrashReport:
    """Record the plan's events in a workspace in `folder`, killing the service as planned."""
    settings = {"enabled": True, "segment_events": plan.segment_events, "segment_s": 3600.0}
    create_workspace(folder, settings={"events": settings, "serving": {"user_store_gib": 4}})
    port, chance, progress = free_port(), random.Random(plan.seed), _Progress()
    points = sorted(chance.randrange(plan.events) for _ in range(plan.kills))
    senders = [
        threading.Thread(target=_send, args=(f"127.0.0.1:{port}", plan, number, progress), daemon=True)
        for number in range(plan.senders)
    ]
    with _service(folder, port) as service:
        _wait_for(port, service)
        began = time.perf_counter()
        for sender in senders:
            sender.start()
        for point in points:
            while progress.acknowledged < point and any(sender.is_alive() for sender in senders):
                time.sleep(0.001)
            time.sleep(chance.random() * 0.02)
            service.kill_and_start()
            progress.lives += 1
        for sender in senders:
            sender.join()
        seconds = time.perf_counter() - began
        service.stop()
    if progress.errors:
        raise progress.errors[0]
    return _found(folder, plan, seconds, progress)


def _send(address: str, plan: Plan, sender: int, progress: _Progress) -> None:
    """Record every `senders`-th batch; now and then one of before once more."""
    chance = random.Random(plan.seed * 1000 + sender)
    starts = list(range(sender * plan.batch, plan.events, plan.senders * plan.batch))
    try:
        with closing(EventClient(address)) as client:
            for place, start in enumerate(starts):
                if place and chance.random() < plan.again:
                    client.record(_batch(plan, starts[chance.randrange(place)]), timeout_s=_PATIENCE_S)
                events = _batch(plan, start)
                life, began = progress.lives, time.perf_counter()
                done = client.record(events, timeout_s=_PATIENCE_S)
                took = time.perf_counter() - began
                assert done.recorded + done.duplicates == len(events)
                with progress.lock:
                    progress.acknowledged += len(events)
                    progress.calls_s.append(took)
                    if progress.lives == life:
                        progress.quiet_calls_s.append(took)
    except BaseException as error:  # noqa: BLE001 - raised by whoever waits for it
        progress.errors.append(error)


def _batch(plan: Plan, start: int) -> list[Event]:
    return [numbered(number, plan.users) for number in range(start, min(start + plan.batch, plan.events))]


class _Service:
    """`retrieval serve events`, a process."""

    def __init__(self, folder: Path, port: int) -> None:
        command = [sys.executable, "-m", "retrieval.cli.main", "serve", "events", "--port", str(port)]
        self._argv = [*command, "--workspace", str(folder), "--parent", str(os.getpid())]
        self._log = folder / "events.log"
        self.process = self._start()

    def kill_and_start(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = self._start()

    def stop(self) -> None:
        self.process.terminate()
        if self.process.wait(timeout=120) != 0:
            raise AssertionError(self._log.read_text(encoding="utf-8")[-5000:])

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as out:
            return subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)


@contextmanager
def _service(folder: Path, port: int) -> Iterator[_Service]:
    service = _Service(folder, port)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait()


def _wait_for(port: int, service: _Service) -> None:
    while not answers(f"127.0.0.1:{port}"):
        assert service.process.poll() is None, "the event service has ended"
        time.sleep(0.05)


def _found(folder: Path, plan: Plan, seconds: float, progress: _Progress) -> CrashReport:
    files = list_files(folder / "data" / "events", "events")
    counts = Counter(name for file in files for name in pq.read_table(file, columns=["event_id"])[0].to_pylist())
    wanted = {numbered(number, plan.users).event_id for number in range(plan.events)}
    assert set(counts) <= wanted, "no event that nobody sent"
    return CrashReport(
        kills=progress.lives,
        lost=len(wanted - set(counts)),
        twice=sum(times > 1 for times in counts.values()),
        wrong_histories=_wrong_histories(folder, plan),
        left_over=len(list((folder / "data" / "event-log").glob("*.journal"))),
        seconds=seconds,
        calls_s=np.array(progress.calls_s),
        quiet_calls_s=np.array(progress.quiet_calls_s),
    )


def _wrong_histories(folder: Path, plan: Plan) -> int:
    """Users whose history in the store is not their events in order."""
    wrong = 0
    with closing(UserStore.open(folder / "users.lmdb", gib=4)) as store:
        for user in range(min(plan.users, plan.events)):
            found = store.get(f"u{user}")
            times = [] if found is None else found.history.timestamps.tolist()
            wrong += times != [AT + number for number in range(user, plan.events, plan.users)]
    return wrong
