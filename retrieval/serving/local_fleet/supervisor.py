"""A local fleet under one supervisor: starts its processes, restarts what dies, and ends them all when it ends."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from retrieval.backoff import Backoff
from retrieval.errors import UnavailableError
from retrieval.serving.local_fleet.fleet_file import FleetState, MemberState, remove_fleet, write_fleet
from retrieval.storage.locks import locked

_log = logging.getLogger(__name__)
_LOOK_S = 0.1
_RESTARTS = Backoff(first_s=0.5, longest_s=15.0)
_STEADY_S = 20.0
_KILL_AFTER_S = 5.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Member:
    """One process to keep alive: its command line, and the address that it listens on (none: "")."""

    name: str
    role: str
    argv: tuple[str, ...]
    address: str
    shard: int | None = None
    replica: int | None = None


class _Child:
    def __init__(self, member: Member, log: Path) -> None:
        self.member = member
        self.process: subprocess.Popen[bytes] | None = None
        self.restarts = -1
        self._log = log
        self._started = 0.0
        self._not_before = 0.0
        self._failures = 0

    def tend(self) -> bool:
        """Start the process if it doesn't run and may; True where it was started."""
        now = time.monotonic()
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return False
            self._failures = 1 if now - self._started > _STEADY_S else self._failures + 1
            wait = _RESTARTS.wait_s(self._failures)
            _log.warning("%s ended with %s; again in %.1f s (log: %s)", self.member.name, code, wait, self._log)
            self.process = None
            self._not_before = now + wait
        if now < self._not_before:
            return False
        with self._log.open("ab") as out:
            self.process = subprocess.Popen(  # noqa: S603 - our own command line
                self.member.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                # Its own group: Ctrl-C reaches the supervisor alone, which then ends the others in order
                process_group=0,
            )
        self._started = now
        self.restarts += 1
        return True

    def state(self) -> MemberState:
        pid = self.process.pid if self.process else 0
        member = self.member
        return MemberState(
            member.name, member.role, member.address, pid, max(0, self.restarts), member.shard, member.replica
        )


class Supervisor:
    """Keeps `members` alive until told to stop. Runs in the thread that calls `run`."""

    def __init__(self, members: Sequence[Member], run_folder: Path, *, drain_s: float) -> None:
        """`run_folder` gets the fleet's file and the logs of its processes. ANN hosts are ended last."""
        self._children = [_Child(member, run_folder / f"{member.name}.log") for member in members]
        self._run_folder, self._drain_s = run_folder, drain_s
        self._stop = threading.Event()

    def run(self, ready: Callable[[], None] = lambda: None, *, start_timeout_s: float = 120.0) -> None:
        """Start everything, call `ready` once every process answers, and go on until SIGTERM, SIGINT or `stop`.

        Raises ConflictError where another fleet runs on `run_folder`, UnavailableError where it does not come up.
        """
        self._run_folder.mkdir(parents=True, exist_ok=True)
        with locked(self._run_folder / "fleet.lock", f"a fleet already runs on {self._run_folder}"):
            before = {each: signal.signal(each, self._on_signal) for each in (signal.SIGTERM, signal.SIGINT)}
            try:
                self._watch(ready, time.monotonic() + start_timeout_s)
            finally:
                self._end()
                remove_fleet(self._run_folder)
                for each, handler in before.items():
                    signal.signal(each, handler)

    def stop(self) -> None:
        """Let `run` end."""
        self._stop.set()

    def _on_signal(self, number: int, _frame: object) -> None:
        _log.info("stopping after %s", signal.Signals(number).name)
        self._stop.set()

    def _watch(self, ready: Callable[[], None], start_by: float) -> None:
        waiting = {child.member.address for child in self._children if child.member.address}
        announced = False
        while not self._stop.is_set():
            if any([child.tend() for child in self._children]):  # noqa: C419 - every child is to be tended
                self._publish()
            if not announced:
                waiting -= {address for address in waiting if answers(address)}
                if not waiting:
                    announced = True
                    ready()
                elif time.monotonic() > start_by:
                    raise UnavailableError(
                        f"no answer from {', '.join(sorted(waiting))}; the logs are in {self._run_folder}"
                    )
            self._stop.wait(_LOOK_S)

    def _publish(self) -> None:
        members = tuple(child.state() for child in self._children)
        candidates = next((m.address for m in members if m.role == "candidates"), "")
        write_fleet(self._run_folder, FleetState(os.getpid(), candidates, members))

    def _end(self) -> None:
        """Refreshes first, which change hosts; then candidate services, so that their last requests find hosts."""
        for role in ("events", "refresh", "candidates", "ann"):
            running = [c.process for c in self._children if c.member.role == role and c.process is not None]
            for process in running:
                process.terminate()
            by = time.monotonic() + self._drain_s + _KILL_AFTER_S
            for process in running:
                try:
                    process.wait(max(0.1, by - time.monotonic()))
                except subprocess.TimeoutExpired:
                    _log.warning("process %d did not end in time; killing it", process.pid)
                    process.kill()
                    process.wait()


def answers(address: str, service: str = "", *, timeout_s: float = 0.5) -> bool:
    """Whether the health of `service` ("" for the process itself) at `address` is SERVING."""
    with grpc.insecure_channel(address, options=(("grpc.enable_http_proxy", 0),)) as channel:
        try:
            request = health_pb2.HealthCheckRequest(service=service)
            found = health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout_s)
        except grpc.RpcError:
            return False
    return bool(found.status == health_pb2.HealthCheckResponse.SERVING)


def free_port(host: str = "127.0.0.1") -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def die_with_parent(parent: int) -> None:
    """End this process (SIGTERM) when the process `parent`, which started it, ends in whatever way."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    else:
        threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
