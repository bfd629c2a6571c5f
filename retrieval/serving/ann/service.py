"""One ANN host as it runs: the host, its server and its registration, started and stopped together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from retrieval.registry import Registry
from retrieval.serving.ann.host import AnnHost
from retrieval.serving.ann.registration import HostRegistration, LastBuild
from retrieval.serving.ann.servicer import SERVICE, AnnServicer
from retrieval.serving.ann.takedowns import TakedownFile, TakedownWatch
from retrieval.serving.config import ServingConfig
from retrieval.serving.registry_link import RegistryLink
from retrieval.serving.wire.server import GrpcServer
from retrieval.types import BuildId
from retrieval.v1 import ann_pb2_grpc

# Searches come from the candidate service, which bounds what it is asked itself; a micro-batch of them may be large
_MAX_MESSAGE_MIB = 512


class AnnService:
    """An ANN host, listening. Use: `start()`, then `stop()`."""

    def __init__(
        self,
        host: AnnHost,
        config: ServingConfig,
        *,
        address: str,
        run_folder: Path,
        connect: Callable[[], Registry] | None = None,
        advertise: str | None = None,
        takedowns: Path | None = None,
    ) -> None:
        """Bind `host` to `address` (host:port, port 0 for a free one). Raises UnavailableError where that is taken.

        `run_folder` holds what is remembered over restarts; `connect` opens the registry, None goes without one.
        `advertise` is the host:port that others call it at, if not `address`. `takedowns` is a list of items that are
        never answered (see TakedownFile).
        """
        self._host, self._config = host, config
        self._registration: HostRegistration | None = None
        self._takedowns = TakedownWatch(TakedownFile(takedowns), host.take_down) if takedowns is not None else None
        servicer = AnnServicer(host, self._activated)
        self._server = GrpcServer(
            SERVICE,
            lambda server: ann_pb2_grpc.add_AnnHostServicer_to_server(servicer, server),
            address=address,
            threads=config.search_threads,
            max_waiting=config.max_waiting,
            max_message_mib=_MAX_MESSAGE_MIB,
        )
        self.address = advertise or self._server.address
        self._registration = HostRegistration(
            host,
            RegistryLink(connect),
            LastBuild(run_folder / f"{host.host_id}.json"),
            address=self.address,
            heartbeat_s=config.heartbeat_s,
            reconcile_s=config.reconcile_s,
            ready=self._server.set_ready,
        )

    def start(self, first: BuildId | None = None) -> None:
        """Bring up a build (`first`, else the deployed or remembered one) and answer.

        Raises ConfigError where there is a list of takedowns that can't be read.
        """
        if self._takedowns is not None:
            self._takedowns.start()
        # Answer before the build is up: whoever waits sees a host that starts, not one that is away
        self._server.start()
        if self._registration is not None:
            self._registration.start(first)

    def stop(self) -> None:
        """Let searches under way finish, then close."""
        self._server.stop(self._config.drain_s)
        if self._takedowns is not None:
            self._takedowns.stop()
        if self._registration is not None:
            self._registration.stop()

    def _activated(self) -> None:
        if self._registration is not None:
            self._registration.changed()
