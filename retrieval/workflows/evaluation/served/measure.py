"""From the trained towers to the answer: what the same targets find as one part after another is the served one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from retrieval.arrays import Ints, Vectors
from retrieval.evaluation.served import ServedQuality
from retrieval.evaluation.stages import StageHits, make_stages
from retrieval.index.verified_shards import VerifiedShards
from retrieval.observability import track
from retrieval.towers.runtime import UserTower
from retrieval.types import BuildId, ModelVersion
from retrieval.workflows.evaluation.evaluate import EvaluationSetup, Targets, user_vectors
from retrieval.workflows.evaluation.recorded_ranks import RecordedRanks
from retrieval.workflows.evaluation.served.asking import SEARCH, USERS, Answered, Answerers, ask_all
from retrieval.workflows.evaluation.served.exact import Asked, Exact, exact_search
from retrieval.workflows.evaluation.served.remarks import (
    STALE_USERS,
    other_items,
    other_lists,
    other_moments,
    other_users,
    other_vectors,
)
from retrieval.workflows.evaluation.served.requests import PastRequests
from retrieval.workflows.evaluation.served.running import Served, find_served, in_process, of_one_build, over_grpc
from retrieval.workflows.evaluation.served.shards import BuildItems, open_shards, read_build
from retrieval.workflows.evaluation.served.targets import asked_targets
from retrieval.workflows.fleet.services import VERIFIED
from retrieval.workflows.fleet.users import users_are_current
from retrieval.workflows.workspace import Workspace
from retrieval.workflows.workspace.workspace import RUN

ENGINE, ANSWER = "merging", "answer"
_MOMENTS_HELD = 4


def measure_served(
    workspace: Workspace,
    version: ModelVersion | None = None,
    *,
    address: str | None = None,
    build: BuildId | None = None,
    targets: Targets = "test",
    max_loss: float | None = None,
    show: bool = True,
) -> ServedQuality:
    """Ask for the targets of a split as users would, and say where quality is lost on the way from the trained towers.

    Asked is the candidate service at `address`, else the workspace's where one runs, else the same engine in this
    process: with `build`, the one that is deployed where none is named, or the newest (of `version`). More than
    `max_loss` (None: evaluation.max_served_loss) of HR@K, K the shortest length measured, is a problem. Raises
    NotFoundError, ConflictError (a roll-out or a refresh is under way), UnavailableError, ArtifactError, DataError.
    """

    def measure() -> ServedQuality:
        served = find_served(workspace, address=address, build=build, version=version)
        setup = EvaluationSetup.open(workspace, targets=targets, show=show).model_only()
        return _quality(_Way.open(setup, served), max_loss, show=show)

    return of_one_build(measure)


def _quality(way: _Way, max_loss: float | None, *, show: bool) -> ServedQuality:
    setup, served = way.setup, way.served
    measured, remarks = way.measure(show=show)
    users = setup.dataset.histories.users_of(way.rows)
    most = setup.config.max_served_loss if max_loss is None else max_loss
    return ServedQuality(
        version=served.build.model_version,
        build=served.build.id,
        asked=served.address or "in this process",
        split=f"{setup.split.name} {setup.targets}",
        available=way.available,
        stages=make_stages(way.k, users, measured),
        max_loss=most,
        remarks=tuple(remarks),
    )


@dataclass(frozen=True)
class _Way:
    """What all stages have in common. T targets, N items of the catalog."""

    setup: EvaluationSetup
    served: Served
    tower: UserTower
    vectors_at: Callable[[int], Vectors]
    held: BuildItems
    rows: Ints
    """int64 [T]: event rows."""
    available: int
    recorded: RecordedRanks | None
    remarks: tuple[str, ...]

    @classmethod
    def open(cls, setup: EvaluationSetup, served: Served) -> _Way:
        workspace, row = setup.workspace, served.build
        tower, items = setup.towers(row.model_version)
        held = read_build(workspace.store(), row, setup.dataset)
        asked = asked_targets(setup, row.model_version, held.at_us)
        encode = lru_cache(_MOMENTS_HELD)(items) if callable(items) else lambda _: items
        stale = () if users_are_current(workspace, setup.dataset.snapshot) else (STALE_USERS,)
        remarks = (*asked.remarks, *stale)
        return cls(setup, served, tower, encode, held, asked.rows, asked.available, asked.recorded, remarks)

    @property
    def k(self) -> int:
        return self.setup.config.ks[0]

    def measure(self, *, show: bool) -> tuple[list[StageHits], list[str]]:
        vectors = user_vectors(self.setup.dataset, self.tower, self.rows)
        stages, indexed = self._exact_stages(vectors)
        found = self._answers(vectors, indexed, show=show)
        return [*self._trained(), *stages, *self._list_stages(found, indexed)], list(self.remarks)

    # -- before the index: exact search

    def _trained(self) -> list[StageHits]:
        if self.recorded is None:
            return []
        hits, every = self.recorded.of(self.rows) < self.k, self.recorded.ranks < self.k
        remark = f"of all {len(every):,} targets: {every.mean():.4f}" if len(hits) < len(every) else ""
        return [StageHits("trained", "nothing: the towers as training measured them, exact search", hits, remark)]

    def _exact_stages(self, users: Vectors) -> tuple[list[StageHits], Exact]:
        """Exported towers, the index's moment, its vectors, its items; and what exact search finds with all of them."""
        times = self.setup.dataset.histories.timestamps[self.rows]
        measured = self.setup.corpus.moments(times)
        at_us = self.held.at_us
        now = np.full(len(self.rows), at_us)
        asked = self._asked(users)
        exported = exact_search(asked, measured, self.setup.corpus.items_at, self.vectors_at)
        moved = bool((measured != now).any())
        then = exact_search(asked, now, self.setup.corpus.items_at, self.vectors_at) if moved else exported
        encoded, members = self.vectors_at(at_us), self.setup.corpus.items_at(at_us)
        laid = self.held.laid_over(encoded)
        vectors = exact_search(asked, now, lambda _: members, lambda _: laid)
        inside = np.zeros(len(members), np.bool_)
        inside[self.held.rows] = True
        corpus = exact_search(asked, now, lambda _: inside, lambda _: laid)
        return [
            StageHits("exported", "towers: exported, and stored", exported.hits),
            self._moment_stage(then, measured),
            StageHits("vectors", "item vectors: the build's", vectors.hits, other_vectors(encoded, self.held)),
            StageHits("corpus", "items that can be found: the build's", corpus.hits, other_items(members, inside)),
        ], corpus

    def _moment_stage(self, found: Exact, measured: Ints) -> StageHits:
        """Of an index that is younger than all that are measured, a loss says nothing: the targets were long past."""
        at_us = self.held.at_us
        what, remark = "moment that items are seen at: the build's", other_moments(measured, at_us)
        return StageHits("moment", what, found.hits, remark, counts=at_us <= int(measured.max()))

    def _asked(self, users: Vectors) -> Asked:
        config = self.setup.config
        return Asked(self.setup.dataset.histories, self.rows, users, self.k, self.setup.corpus, config.block_mb)

    # -- from the index on: lists

    def _answers(self, vectors: Vectors, indexed: Exact, *, show: bool) -> Answered:
        workspace, row = self.setup.workspace, self.served.build
        settings = workspace.settings.serving
        verified = VerifiedShards(workspace.root / RUN / VERIFIED)
        with ExitStack() as opened:
            engine, users = opened.enter_context(in_process(workspace, row))
            engines = {ENGINE: engine}
            if self.served.address is not None:
                engines[ANSWER] = opened.enter_context(over_grpc(self.served.address, row.id))
            who = Answerers(
                dataset=self.setup.dataset,
                tower=self.tower,
                shards=open_shards(workspace.store(), row, verified),
                requests=PastRequests(
                    self.setup.dataset,
                    self.tower.features,
                    users,
                    self.k,
                    settings.max_history,
                ),
                serving=settings,
                corpus=self.setup.corpus.config,
                engines=engines,
            )
            tracker = opened.enter_context(track("asking", len(self.rows), unit="targets", show=show))
            return ask_all(who, self.rows, vectors, indexed.excluded, tracker)

    def _list_stages(self, found: Answered, indexed: Exact) -> list[StageHits]:
        recall = self._recall(found.lists[SEARCH], indexed)
        stages = [
            StageHits(SEARCH, "search: on the build's shards", found.hits[SEARCH], f"recall@{self.k} {recall:.4f}"),
            StageHits(USERS, "users: as the store has them", found.hits[USERS], other_users(found)),
            StageHits(
                ENGINE,
                "filters, exclusions, merging: the engine's",
                found.hits[ENGINE],
                other_lists(found.lists[USERS], found.lists[ENGINE]),
            ),
        ]
        if ANSWER in found.lists:
            other = other_lists(found.lists[ENGINE], found.lists[ANSWER])
            stages.append(StageHits(ANSWER, "the answer: of the services, over gRPC", found.hits[ANSWER], other))
        return stages

    def _recall(self, lists: list[list[str]], exact: Exact) -> float:
        """Share of what exact search lists, with the same vectors, that the search lists too."""
        ids = self.setup.dataset.histories.item_ids
        wanted = found = 0
        for listed, best in zip(lists, exact.lists, strict=True):
            names = set(ids.take(best[best >= 0]).to_pylist())
            wanted += len(names)
            found += len(names.intersection(listed))
        return found / wanted if wanted else 1.0
