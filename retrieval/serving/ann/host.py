"""The core of an ANN host: one shard of one build, searched, and exchanged for another without a gap."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from retrieval.errors import ArtifactError, RequestError, RetrievalError, SpaceMismatchError, UnavailableError
from retrieval.index.artifact import BUILD_KIND
from retrieval.index.metadata import ExpectedShard
from retrieval.index.query import ItemAttributes, Query
from retrieval.index.shard import Shard, open_shard
from retrieval.index.verified_shards import VerifiedShards
from retrieval.serving.core.hosts import HostAnswer, HostRefusedError
from retrieval.serving.core.metadata import HostMetadata, ServedBuild
from retrieval.storage import MANIFEST, ArtifactStore, read_manifest
from retrieval.storage.keys import build_key, builds_prefix, shard_name
from retrieval.types import BuildId, SpaceId

_log = logging.getLogger(__name__)
_WARM_QUERIES = 16


@dataclass(frozen=True, slots=True)
class _Loaded:
    build: ServedBuild
    shard: Shard


class AnnHost:
    """Serves shard number `shard` of one build of `model`. Thread-safe.

    With `verified`, a shard that was verified before, its files untouched since, is opened again in milliseconds: a
    roll-back is instant.
    """

    def __init__(
        self,
        host_id: str,
        model: str,
        shard: int,
        store: ArtifactStore,
        *,
        verified: VerifiedShards | None = None,
    ) -> None:
        self.host_id = host_id
        self.model = model
        self.shard = shard
        self._store = store
        self._verified = verified
        # One reference, replaced as a whole: a search takes it once and keeps that build until it is done
        self._active: _Loaded | None = None
        self._standby: _Loaded | None = None
        self._last_error = ""
        self._taken_down: Collection[str] = ()
        self._changing = threading.Lock()
        self._loading = threading.Lock()

    def metadata(self) -> HostMetadata:
        """What this host serves now."""
        return self._describe(self._active)

    def search(
        self, model: str, space_id: str, vectors: npt.NDArray[np.float32], queries: Sequence[Query]
    ) -> HostAnswer:
        """Hits for each of `queries`, whose vectors are the rows of `vectors` float32 [n, D].

        Raises HostRefusedError, which says what is served, where the vectors are of another space than the active
        build; UnavailableError where no build is active yet; RequestError on a query that can't be answered as it is.
        """
        started = time.perf_counter_ns()
        active = self._serving(model)
        if space_id != active.build.space_id:
            raise HostRefusedError(
                f"{self.host_id}: vectors of space {space_id[:64]!r}, but {active.build.build} is of "
                f"{active.build.version}, space {active.build.space_id!r}: embed with that version",
                self._describe(active),
            )
        hits = active.shard.search(vectors, queries)
        return HostAnswer(hits, self._describe(active), (time.perf_counter_ns() - started) // 1000)

    def attributes(self, model: str, item_ids: Collection[str], names: Collection[str]) -> ItemAttributes:
        """Attributes of those items (raw ids) that the active build's shard holds, of `names` those that it has.

        Raises UnavailableError where no build is active yet.
        """
        return self._serving(model).shard.attributes(item_ids, names)

    def load(self, build: BuildId, *, digest: str = "") -> HostMetadata:
        """Read, verify and warm this host's shard of `build`; it then stands by. The active build goes on serving.

        `digest`, where given, is the SHA-256 that the build's manifest must have. Raises NotFoundError, ArtifactError.
        """
        if build.model != self.model:
            raise RequestError(f"build {build}: this host serves {self.model!r}")
        with self._loading:
            if any(held is not None and held.build.build == build for held in (self._active, self._standby)):
                return self.metadata()
            try:
                loaded = self._open(build, digest)
            except RetrievalError as error:
                self._last_error = f"{build}: {error}"
                _log.warning("host=%s load failed build=%s: %s", self.host_id, build, error)
                raise
            with self._changing:
                loaded.shard.take_down(self._taken_down)
                self._standby = loaded
                self._last_error = ""
            _log.info("host=%s standing by build=%s version=%s", self.host_id, build, loaded.build.version)
            self._forget_copies()
            return self.metadata()

    def activate(self, build: BuildId) -> HostMetadata:
        """Let `build`, which stands by, answer from now on; searches under way finish on the old one.

        Raises SpaceMismatchError (a failed precondition) where it does not stand by.
        """
        with self._changing:
            if self._active is not None and self._active.build.build == build:
                return self.metadata()
            standby = self._standby
            if standby is None or standby.build.build != build:
                raise SpaceMismatchError(f"{self.host_id}: build {build} does not stand by; load it first")
            now = time.time_ns() // 1000
            self._active = _Loaded(replace(standby.build, activated_at=now), standby.shard)
            self._standby = None
        _log.info("host=%s active build=%s version=%s", self.host_id, build, standby.build.version)
        return self.metadata()

    def confirm(self, build: BuildId, as_of: int) -> None:
        """`build`, if it is active, holds what it would if it were made at `as_of` (µs): nothing has moved since."""
        with self._changing:
            active = self._active
            if active is not None and active.build.build == build and active.build.as_of < as_of:
                self._active = _Loaded(replace(active.build, as_of=as_of), active.shard)

    def take_down(self, item_ids: Collection[str]) -> None:
        """Never answer with these raw item ids, and no others, whatever build is or will be active.

        Holds for every search that begins from now on. Ids that this shard does not hold are ignored.
        """
        with self._changing:
            self._taken_down = item_ids
            held = [loaded.shard.take_down(item_ids) for loaded in (self._active, self._standby) if loaded is not None]
        _log.info("host=%s takedowns=%d held by its builds=%s", self.host_id, len(item_ids), held)

    def _forget_copies(self) -> None:
        """Builds that were collected need no room on this machine; one that comes every few minutes would fill it."""
        held = [build_key(loaded.build.build) for loaded in (self._active, self._standby) if loaded is not None]
        try:
            gone = self._store.forget_copies(builds_prefix(self.model), keep=held)
        except RetrievalError as error:
            _log.warning("host=%s can't tell which copies of builds are of no use: %s", self.host_id, error)
        else:
            if gone:
                _log.info("host=%s removed its copies of %s", self.host_id, ", ".join(gone))

    def _describe(self, active: _Loaded | None) -> HostMetadata:
        standby = self._standby
        return HostMetadata(
            host_id=self.host_id,
            shard=self.shard,
            active=active.build if active else None,
            standby=standby.build if standby else None,
            last_error=self._last_error,
        )

    def _serving(self, model: str) -> _Loaded:
        active = self._active
        if model != self.model:
            raise RequestError(f"model {model!r}: this host serves {self.model!r}")
        if active is None:
            raise UnavailableError(f"{self.host_id}: no build of {self.model!r} is active yet")
        return active

    def _open(self, build: BuildId, digest: str) -> _Loaded:
        key = build_key(build)
        folder = self._store.locate(key)
        # Not the store's open_artifact: that would read every shard, and this host needs one of them
        manifest = read_manifest(folder, kind=BUILD_KIND)
        if digest and manifest.digest != digest:
            raise ArtifactError(
                f"{folder / MANIFEST}: not the manifest that was recorded (SHA-256 {manifest.digest}, not {digest})"
            )
        shards = manifest.facts.get("shards")
        if not isinstance(shards, int) or not 0 <= self.shard < shards:
            raise ArtifactError(f"{key}: has {shards} shards; {self.host_id} serves shard {self.shard} (from 0)")
        name = shard_name(self.shard, shards)
        record = manifest.files.get(f"{name}/{MANIFEST}")
        if record is None:
            raise ArtifactError(f"{folder / MANIFEST}: lists no {name}/{MANIFEST}")
        expect = ExpectedShard(
            model=build.model,
            version=manifest.facts.get("version"),
            space_id=manifest.facts.get("space_id"),
            build=build.number,
            shard=self.shard,
            shards=shards,
            dim=manifest.facts.get("dim"),
            digest=record.sha256,
        )
        shard = open_shard(folder / name, expect, verified=self._verified)
        _warm(shard)
        held = shard.metadata
        return _Loaded(
            ServedBuild(
                version=held.model_version,
                space_id=SpaceId(held.space_id),
                build=held.build_id,
                shard=held.shard,
                shards=held.shards,
                dim=held.dim,
                items=held.count,
                recall=held.recall,
                as_of=held.at_us,
            ),
            shard,
        )


def _warm(shard: Shard) -> None:
    """Search a little, so that the first real queries find pages and scratch memory in place."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((_WARM_QUERIES, shard.metadata.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    shard.search(vectors, [Query(100)] * _WARM_QUERIES)
