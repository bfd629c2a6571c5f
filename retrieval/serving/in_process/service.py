"""A candidate service and its ANN hosts in one process, without ports."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from retrieval.data.corpus.config import CorpusConfig
from retrieval.errors import ArtifactError, UnavailableError
from retrieval.index.verified_shards import VerifiedShards
from retrieval.serving.ann.host import AnnHost
from retrieval.serving.ann.takedowns import TakedownFile, TakedownWatch
from retrieval.serving.config import ServingConfig
from retrieval.serving.core.answer import CandidateAnswer
from retrieval.serving.core.candidates import Users, look_up
from retrieval.serving.core.engine import Engine
from retrieval.serving.core.exploration import new_items_of, result_of
from retrieval.serving.core.fleet import Fleet
from retrieval.serving.core.held_towers import HeldTowers
from retrieval.serving.in_process.hosts import InProcessHosts
from retrieval.serving.users.store import LazyUserStore
from retrieval.serving.wire.candidate_messages import read_request
from retrieval.storage import ArtifactStore
from retrieval.towers.runtime import load_user_tower
from retrieval.types import BuildId
from retrieval.v1 import candidates_pb2

_TOWER_PATIENCE_S = 120.0
_ASK_AGAIN_S = 3600.0  # a host in this process changes nothing by itself; one that was late is asked again at once


class InProcessService:
    """Answers from one build, with a host for each shard, by the engine of the candidate service. Thread-safe."""

    def __init__(
        self,
        store: ArtifactStore,
        build: BuildId,
        shards: int,
        config: ServingConfig,
        *,
        user_store: Path,
        corpus: CorpusConfig,
        digest: str = "",
        verified: VerifiedShards | None = None,
        takedowns: Path | None = None,
    ) -> None:
        """Open all `shards` of `build`, verified, and the user tower of its version.

        `corpus` declares what becomes of what users have seen, unless a request says. `digest` is the SHA-256 that the
        build's manifest must have. `verified` remembers shards that were verified, so that the next opening takes
        milliseconds. `takedowns` is a list of items that are never answered (see TakedownFile).

        Raises NotFoundError, ArtifactError, ConfigError.
        """
        self.build, self._config, self._corpus = build, config, corpus
        self._hosts = _open_hosts(store, build, shards, digest, verified)
        self._takedowns = None if takedowns is None else TakedownWatch(TakedownFile(takedowns), self._take_down)
        self._connections = InProcessHosts(self._hosts)
        self._users = LazyUserStore(user_store, gib=config.user_store_gib)
        self._towers = HeldTowers(
            lambda version: load_user_tower(store, version, threads=config.tower_threads), latest=config.towers_kept
        )
        self._fleet = Fleet(self._towers.ready)
        self._fleet.add(self._hosts)
        timeout_s = config.search_timeout_ms / 1000
        self._engine = Engine(
            self._fleet,
            self._towers,
            self._connections,
            search_timeout_s=timeout_s,
            patience_s=timeout_s,
            strict_inputs=config.strict_inputs,
        )
        try:
            if self._takedowns is not None:
                self._takedowns.start()
            self._towers.start(self._fleet.towers_changed)
            self._hear_hosts()
            self._await_tower()
        except BaseException:
            self.close()
            raise

    def answer(
        self, messages: Sequence[candidates_pb2.GetCandidatesRequest], timeout_s: float | None = None
    ) -> list[CandidateAnswer]:
        """Answers in the order of the requests, read as the candidate service reads them, worked out in this thread.

        Raises the error of the first request that fails: RequestError (says what to change), UnavailableError,
        DeadlineError.
        """
        config, corpus, model = self._config, self._corpus, self.build.model
        requests = [
            read_request(message, model, config, corpus, name=f"requests[{i}]." if len(messages) > 1 else "")
            for i, message in enumerate(messages)
        ]
        self._hear_hosts()
        wanted_ms = config.deadline_ms if timeout_s is None else timeout_s * 1000
        deadline = time.monotonic() + min(wanted_ms, config.max_deadline_ms) / 1000
        answers: list[CandidateAnswer] = []
        for start in range(0, len(requests), config.micro_batch):
            pieces = [look_up(self._users, one, deadline) for one in requests[start : start + config.micro_batch]]
            new = [new_items_of(piece, config.exploration) for piece in pieces]
            self._engine.answer([*pieces, *filter(None, new)])
            answers += map(result_of, pieces, new)
        return answers

    @property
    def users(self) -> Users:
        """The stored users that it answers for."""
        return self._users

    def close(self) -> None:
        """Let go of shards, towers and the user store."""
        if self._takedowns is not None:
            self._takedowns.stop()
        self._towers.stop()
        self._connections.close()
        self._users.close()

    def _take_down(self, item_ids: Collection[str]) -> None:
        for host in self._hosts.values():
            host.take_down(item_ids)

    def _hear_hosts(self) -> None:
        for address in self._fleet.due(_ASK_AGAIN_S):
            self._fleet.heard(address, self._hosts[address].metadata())

    def _await_tower(self) -> None:
        self._towers.want(self._fleet.needed_spaces(), [])
        by = time.monotonic() + _TOWER_PATIENCE_S
        while self._fleet.options().choose() is None:
            epoch = self._fleet.epoch
            failed = [held for held in self._towers.held() if held.error]
            if failed:
                raise ArtifactError(f"the user tower of {failed[0].version} can't be loaded: {failed[0].error}")
            if time.monotonic() > by:
                raise UnavailableError(f"the user tower was not loaded within {_TOWER_PATIENCE_S:.0f} s")
            self._fleet.wait_for_change(epoch, 0.05)


def _open_hosts(
    store: ArtifactStore, build: BuildId, shards: int, digest: str, verified: VerifiedShards | None
) -> Mapping[str, AnnHost]:
    hosts = {}
    for shard in range(shards):
        name = f"shard-{shard}"
        hosts[name] = host = AnnHost(name, build.model, shard, store, verified=verified)
        host.load(build, digest=digest)
        host.activate(build)
    return hosts
