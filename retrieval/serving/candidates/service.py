"""The candidate service as it runs: engine, fleet, towers, user store and server, started and stopped together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from retrieval.data.corpus.config import CorpusConfig
from retrieval.registry import Registry
from retrieval.serving.candidates.servicer import SERVICE, CandidateServicer, serving_state
from retrieval.serving.candidates.watching import FleetWatch
from retrieval.serving.config import ServingConfig
from retrieval.serving.core.candidates import Candidates
from retrieval.serving.core.engine import Engine
from retrieval.serving.core.fleet import Fleet
from retrieval.serving.core.held_towers import HeldTowers
from retrieval.serving.registry_link import RegistryLink
from retrieval.serving.users.store import LazyUserStore
from retrieval.serving.wire.ann_client import AnnClient
from retrieval.serving.wire.server import GrpcServer
from retrieval.storage import ArtifactStore
from retrieval.towers.runtime import load_user_tower
from retrieval.v1 import candidates_pb2, candidates_pb2_grpc


class CandidateService:
    """A candidate service, listening. Use: `start()`, then `stop()`."""

    def __init__(
        self,
        model: str,
        store: ArtifactStore,
        config: ServingConfig,
        *,
        address: str,
        user_store: Path,
        corpus: CorpusConfig,
        hosts: Sequence[str] = (),
        connect: Callable[[], Registry] | None = None,
        host_id: str = "candidates-0",
        advertise: str | None = None,
    ) -> None:
        """Bind to `address` (host:port, port 0 for a free one). Raises UnavailableError where that is taken.

        ANN hosts are those in `hosts`, in the settings and in the registry that `connect` opens.
        `corpus` declares what becomes of what users have seen, unless a request says. `advertise` is the host:port that
        others call it at, if not `address`.
        """
        self._model, self._config = model, config
        self._started_at = time.time_ns() // 1000
        self._towers = HeldTowers(
            lambda version: load_user_tower(store, version, threads=config.tower_threads), latest=config.towers_kept
        )
        self._fleet = Fleet(self._towers.ready)
        self._client = AnnClient(model)
        self._users = LazyUserStore(user_store, gib=config.user_store_gib)
        self._link = RegistryLink(connect)
        timeout_s = config.search_timeout_ms / 1000
        engine = Engine(
            self._fleet,
            self._towers,
            self._client,
            search_timeout_s=timeout_s,
            patience_s=timeout_s,
            strict_inputs=config.strict_inputs,
        )
        self._candidates = Candidates(model, self._users, engine, config)
        servicer = CandidateServicer(self._candidates, config, corpus, self.state)
        self._server = GrpcServer(
            SERVICE,
            lambda server: candidates_pb2_grpc.add_CandidateServiceServicer_to_server(servicer, server),
            address=address,
            threads=config.threads,
            max_waiting=config.max_waiting,
            max_message_mib=config.max_message_mib,
        )
        self.address = advertise or self._server.address
        self._watch = FleetWatch(
            model,
            fleet=self._fleet,
            towers=self._towers,
            client=self._client,
            link=self._link,
            server=self._server,
            config=config,
            static=[*config.hosts, *hosts],
            host_id=host_id,
            address=self.address,
        )

    def start(self) -> None:
        """Find hosts, load towers in the background, and answer."""
        self._towers.start(self._fleet.towers_changed)
        self._watch.start()
        self._server.start()

    def stop(self) -> None:
        """Let calls under way finish, then close."""
        self._server.stop(self._config.drain_s)
        self._candidates.close()
        self._watch.stop()
        self._towers.stop()
        self._client.close()
        self._users.close()

    def state(self) -> candidates_pb2.GetServingStateResponse:
        """What the service knows now."""
        return serving_state(
            self._model,
            self._fleet,
            self._towers,
            users=self._users.count(),
            started_at=self._started_at,
            registry_error=self._link.error,
        )
