"""An ANN host and the registry: it reports there, and comes back to the build that is deployed."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from retrieval.backoff import Backoff, spread
from retrieval.errors import RetrievalError
from retrieval.registry import HostRow, Registry
from retrieval.serving.ann.host import AnnHost
from retrieval.serving.registry_link import RegistryLink
from retrieval.storage.atomic import write_text
from retrieval.types import BuildId

_log = logging.getLogger(__name__)
_RETRIES = Backoff(first_s=2.0, longest_s=120.0)


@dataclass(frozen=True, slots=True)
class Target:
    """The build that a host should serve; `digest` is that of the build's manifest, empty where it isn't known.

    A refresh found that it holds what there is to know at `as_of` (µs; 0 where none has looked).
    """

    build: BuildId
    digest: str = ""
    as_of: int = 0


@dataclass(frozen=True, slots=True)
class Deployed:
    """What the registry says: the build deployed last, and whether a deployment is under way."""

    target: Target | None = None
    running: bool = False


class LastBuild:
    """Remembers in a small file which build a host served, for a restart while the registry is away."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, model: str) -> Target | None:
        """What was remembered; None where nothing is, or it can't be read."""
        try:
            body = json.loads(self._path.read_text(encoding="utf-8"))
            return Target(BuildId(model, int(body["build"]))) if body["model"] == model else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, build: BuildId) -> None:
        """Remember `build`; a disk that can't be written to is logged, no more."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._path, json.dumps({"model": build.model, "build": build.number}))
        except OSError as error:
            _log.warning("can't remember the active build in %s: %s", self._path, error)


class HostRegistration:
    """Keeps a host registered, and on the build that is deployed, in one background thread."""

    def __init__(
        self,
        host: AnnHost,
        link: RegistryLink,
        last: LastBuild,
        *,
        address: str,
        heartbeat_s: float,
        reconcile_s: float,
        ready: Callable[[bool], None],
    ) -> None:
        """`address` is what others call the host at; `ready` is told whether a build is active."""
        self._host, self._link, self._last = host, link, last
        self._address, self._heartbeat_s, self._reconcile_s = address, heartbeat_s, reconcile_s
        self._ready = ready
        self._started = time.time()
        self._wake = threading.Event()
        self._stopping = False
        self._refused: dict[BuildId, tuple[float, int]] = {}  # build -> (not before, failures)
        self._thread = threading.Thread(target=self._run, name="registration", daemon=True)

    def start(self, first: BuildId | None = None) -> None:
        """Bring up a first build (`first`, else the deployed one, else the remembered one), then go on in a thread.

        A first build that can't be loaded is logged; the host then stands empty until there is one that can.
        """
        for target in self._candidates(first):
            if self._serve(target):
                break
        self._report()
        self._thread.start()

    def changed(self) -> None:
        """Another build was activated: remember and report it soon."""
        self._note_active()
        self._wake.set()

    def stop(self) -> None:
        """End the thread and tell the registry that this host is gone."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=5)
        self._link.ask(lambda registry: registry.retire_host(self._host.host_id), None)
        self._link.close()

    def _candidates(self, first: BuildId | None) -> list[Target]:
        if first is not None:
            return [Target(first)]
        remembered = self._last.read(self._host.model)
        deployed = self._link.ask(self._deployed, Deployed())
        # A deployment under way drives the hosts itself; until it comes by, go on with what was served last
        order = [remembered, deployed.target] if deployed.running else [deployed.target, remembered]
        return [target for target in order if target is not None]

    def _deployed(self, registry: Registry) -> Deployed:
        model = self._host.model
        running = registry.running_deployment(model) is not None
        row = registry.active_build(model)
        return Deployed(Target(row.id, row.digest, row.at_us or 0) if row else None, running)

    def _run(self) -> None:
        # Hosts that start together shall not load together
        due = time.monotonic() + spread(self._reconcile_s, 0.5)
        while not self._pause():
            try:
                self._report()
                if time.monotonic() >= due:
                    due = time.monotonic() + spread(self._reconcile_s, 0.5)
                    self._reconcile()
            except Exception:  # noqa: BLE001 - whatever it was, the host goes on
                _log.exception("host=%s: reporting or reconciling failed; going on", self._host.host_id)

    def _pause(self) -> bool:
        """Wait for the next round, or a change that can't wait; True at the end."""
        self._wake.wait(self._heartbeat_s)
        self._wake.clear()
        return self._stopping

    def _reconcile(self) -> None:
        deployed = self._link.ask(self._deployed, Deployed())
        target = deployed.target
        active = self._host.metadata().active
        if target is None or (deployed.running and active is not None):
            return
        if active is not None and active.build == target.build:
            self._host.confirm(target.build, target.as_of)
            return
        self._serve(target)

    def _serve(self, target: Target) -> bool:
        not_before, failures = self._refused.get(target.build, (0.0, 0))
        if time.monotonic() < not_before:
            return False
        try:
            self._host.load(target.build, digest=target.digest)
            self._host.activate(target.build)
        except RetrievalError as error:
            self._refused[target.build] = (time.monotonic() + _RETRIES.wait_s(failures + 1), failures + 1)
            _log.warning("host=%s can't serve %s: %s", self._host.host_id, target.build, error)
            return False
        self._refused.pop(target.build, None)
        self._note_active()
        return True

    def _note_active(self) -> None:
        active = self._host.metadata().active
        self._ready(active is not None)
        if active is not None:
            self._last.write(active.build)

    def _report(self) -> None:
        active = self._host.metadata().active
        row = HostRow(
            host_id=self._host.host_id,
            role="ann",
            address=self._address,
            model=self._host.model,
            shard=self._host.shard,
            shards=active.shards if active else None,
            build=active.build.number if active else None,
            version=active.version.version if active else None,
            space_id=active.space_id if active else "",
            pid=os.getpid(),
            state="serving" if active else "starting",
        )
        self._link.ask(lambda registry: registry.heartbeat(row), None)
