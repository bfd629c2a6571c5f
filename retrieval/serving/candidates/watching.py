"""Keeps what the candidate service knows up to date: hosts, what they serve, and the user towers that they need."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence

from retrieval.registry import HostRow, Registry
from retrieval.serving.config import ServingConfig
from retrieval.serving.core.fleet import Fleet, refresh
from retrieval.serving.core.held_towers import HeldTowers
from retrieval.serving.registry_link import RegistryLink
from retrieval.serving.wire.ann_client import AnnClient
from retrieval.serving.wire.server import GrpcServer
from retrieval.types import ModelVersion

_log = logging.getLogger(__name__)
_METADATA_TIMEOUT_S = 0.5
_ALIVE_S = 15.0
_FORGET_S = 30.0
_LOOK_S = 0.1


class FleetWatch:
    """Watches the fleet: one thread keeps the hosts' metadata fresh, another talks to the registry."""

    def __init__(
        self,
        model: str,
        *,
        fleet: Fleet,
        towers: HeldTowers,
        client: AnnClient,
        link: RegistryLink,
        server: GrpcServer,
        config: ServingConfig,
        static: Sequence[str],
        host_id: str,
        address: str,
    ) -> None:
        """`static` addresses are asked for ever; those from the registry until it drops them and they are silent."""
        self._model, self._fleet, self._towers, self._client = model, fleet, towers, client
        self._link, self._server, self._config = link, server, config
        self._static, self._host_id = frozenset(static), host_id
        self._address = address
        self._latest: list[ModelVersion] = []
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, name="fleet", daemon=True),
            threading.Thread(target=self._talk, name="registry", daemon=True),
        ]

    def start(self) -> None:
        """Know the hosts there are now, then go on in threads."""
        self._fleet.add(sorted(self._static))
        self._discover()
        self._refresh_due()
        self._towers.want(self._fleet.needed_spaces(), self._latest)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads and tell the registry that this service is gone."""
        self._stopping.set()
        self._fleet.towers_changed()
        for thread in self._threads:
            thread.join(timeout=5)
        self._link.ask(lambda registry: registry.retire_host(self._host_id), None)
        self._link.close()

    def _watch(self) -> None:
        while not self._stopping.is_set():
            epoch = self._fleet.epoch
            try:
                self._refresh_due()
                self._towers.want(self._fleet.needed_spaces(), self._latest)
                self._server.set_ready(self._fleet.options().choose() is not None)
            except Exception:  # noqa: BLE001 - whatever it was, serving goes on
                _log.exception("watching the fleet failed; going on")
                self._stopping.wait(1.0)
            self._fleet.wait_for_change(epoch, _LOOK_S)

    def _refresh_due(self) -> None:
        for address in self._fleet.due(self._config.metadata_ttl_ms / 1000):
            refresh(self._fleet, address, lambda at: self._client.metadata(at, _METADATA_TIMEOUT_S))

    def _talk(self) -> None:
        while not self._stopping.wait(self._config.heartbeat_s):
            try:
                self._discover()
                self._report()
            except Exception:  # noqa: BLE001
                _log.exception("talking to the registry failed; going on")

    def _discover(self) -> None:
        """Hosts and latest versions from the registry; while it is away, what it said last stays true."""
        found = self._link.ask(self._look_up, None)
        if found is None:
            return
        addresses, self._latest = found
        self._fleet.add(sorted(addresses))
        now = time.monotonic()
        for view in self._fleet.views():
            silent = not view.reachable and now - view.heard > _FORGET_S
            if silent and view.address not in addresses and view.address not in self._static:
                _log.info("forgetting ANN host %s: silent, and not in the registry", view.address)
                self._fleet.remove(view.address)
                self._client.forget(view.address)

    def _look_up(self, registry: Registry) -> tuple[frozenset[str], list[ModelVersion]]:
        hosts = registry.hosts(self._model, role="ann", alive_within_s=_ALIVE_S)
        versions = registry.list_versions(self._model, states=("ready",))
        newest = sorted((row.id for row in versions), reverse=True)
        return frozenset(row.address for row in hosts), newest[: self._config.towers_kept]

    def _report(self) -> None:
        towers = tuple(held.version.version for held in self._towers.held() if held.tower is not None)
        row = HostRow(
            host_id=self._host_id,
            role="candidates",
            address=self._address,
            model=self._model,
            towers=towers,
            pid=os.getpid(),
            state="serving",
        )
        self._link.ask(lambda registry: registry.heartbeat(row), None)
