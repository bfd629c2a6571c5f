"""Refreshing the build that is served: what is new or has moved is encoded, and brought to the hosts in the same space.

A refresh makes a new build of the same version from the one that is active: vectors of items whose inputs are the same
are taken over, the others encoded, shards in which anything changed linked anew. It then takes the place of its parent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.data import open_dataset
from retrieval.data.config import iso_moment
from retrieval.errors import ConfigError, ConflictError, GateError, NotFoundError
from retrieval.registry import BuildRow, Registry
from retrieval.rollout.collect import collect
from retrieval.rollout.controller import was_interrupted
from retrieval.rollout.deploy import DeploymentReport, refresh
from retrieval.storage import ArtifactStore
from retrieval.storage.keys import build_key
from retrieval.storage.locks import locked
from retrieval.workflows.indexing.build import index_contents
from retrieval.workflows.workspace import Workspace
from retrieval.workflows.workspace.workspace import RUN

if TYPE_CHECKING:
    from retrieval.data import Dataset
    from retrieval.index.build import BuildReport
    from retrieval.index.config import IndexConfig
    from retrieval.index.contents import Contents
    from retrieval.index.encode import ItemEncoder
    from retrieval.index.moves import Moves

Say = Callable[[str], None]
Uninterrupted = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshOutcome:
    """What a refresh found and did, as of `at_us` (µs).

    `build` is what is served now: `parent` itself where nothing had moved. `report` is then None, and `deployment` as
    well. Items that are `new` are among the `moved`, which were encoded; `gone` ones are no longer held.
    """

    parent: BuildRow
    build: BuildRow
    at_us: int
    snapshot: str
    new: int
    moved: int
    gone: int
    report: BuildReport | None
    deployment: DeploymentReport | None
    total_s: float
    cpu_s: float


def refresh_index(
    workspace: Workspace,
    *,
    at_us: int | None = None,
    device: str = "auto",
    dataset: Dataset | None = None,
    uninterrupted: Uninterrupted = nullcontext,
    show: bool = True,
    say: Say = lambda _: None,
) -> RefreshOutcome:
    """Bring what the active build holds up to `at_us` (µs; None: now), from what the log says before that moment.

    `dataset` is the workspace's, for callers that have opened it; the change of the hosts runs within `uninterrupted`.
    Where it fails, or is killed, the parent goes on serving. Raises NotFoundError where no build is active,
    ConflictError where another refresh or deployment runs, GateError where recall is too low or too few items are left
    (nothing is published then), ConfigError for a moment before the build's own, ArtifactError, DataError,
    UnavailableError.
    """
    from retrieval.towers.loading import load_item_tower

    began, worked = time.perf_counter(), time.process_time()
    moment = time.time_ns() // 1000 if at_us is None else at_us
    run_folder = workspace.root / RUN
    run_folder.mkdir(parents=True, exist_ok=True)
    with (
        locked(run_folder / "refresh.lock", f"{workspace.model} is being refreshed"),
        closing(workspace.registry()) as registry,
    ):
        store = workspace.store()
        parent = _parent(registry, workspace.model, moment)
        _clear_abandoned(registry, store, workspace.model)
        tower = load_item_tower(store, parent.model_version, device=device)
        dataset = dataset or open_dataset(workspace.settings.data, workspace.root, show=show)
        config = _config_at(workspace.settings.index, parent, moment)
        contents = index_contents(dataset, tower.features, config, workspace.settings.corpus)
        work = _Refresh(workspace, registry, store, tower, contents, config, parent)
        moves = work.find_moves()
        report, build, deployment = None, parent, None
        if len(moves.same_shards) == parent.shards:
            build = registry.set_build_moment(parent.id, moment)
        else:
            report, build = work.make(moves, show=show)
            with uninterrupted():
                deployment = work.deploy(build, say)
    return RefreshOutcome(
        parent=parent,
        build=build,
        at_us=moment,
        snapshot=dataset.snapshot,
        new=moves.new,
        moved=moves.encoded,
        gone=moves.gone,
        report=report,
        deployment=deployment,
        total_s=time.perf_counter() - began,
        cpu_s=time.process_time() - worked,
    )


def _parent(registry: Registry, model: str, moment: int) -> BuildRow:
    """The active build. Raises as `refresh_index`."""
    parent = registry.active_build(model)
    if parent is None:
        raise NotFoundError(f"{model}: no build is active yet; `retrieval deploy` one, then refresh it")
    running = registry.running_deployment(model)
    if running is not None and running.kind != "refresh" and not was_interrupted(running):
        raise ConflictError(
            f"{running.kind} {running.id} of {running.build_id} is running; what it brings will be refreshed when it "
            "is done"
        )
    if parent.at_us is not None and moment < parent.at_us:
        raise ConfigError(
            f"{iso_moment(moment)} is before {iso_moment(parent.at_us)}, the moment that {parent.id} is as of"
        )
    return parent


def _config_at(config: IndexConfig, parent: BuildRow, moment: int) -> IndexConfig:
    """The settings of now, with the parent's shards, since the hosts are as many, as of the moment."""
    return config.model_copy(update={"shards": parent.shards, "as_of": iso_moment(moment)})


def _clear_abandoned(registry: Registry, store: ArtifactStore, model: str) -> None:
    """Give up what a refresh that was killed had begun; only one runs, so none of this is anybody's."""
    for row in registry.list_builds(model, states=["building"]):
        if row.parent is None:
            continue
        registry.set_build_state(row.id, "failed", reason="its refresh was interrupted")
        if store.exists(build_key(row.id)):
            store.delete(build_key(row.id))


@dataclass(frozen=True)
class _Refresh:
    """The steps of one refresh, and what they share."""

    workspace: Workspace
    registry: Registry
    store: ArtifactStore
    tower: ItemEncoder
    contents: Contents
    config: IndexConfig
    parent: BuildRow

    def find_moves(self) -> Moves:
        """What has moved; refused where hardly anything would be left."""
        from retrieval.index.moves import find_moves

        least = self.workspace.settings.rollout.refresh_keeps
        left = self.contents.items.num_rows
        if left < least * self.parent.items:
            raise GateError(
                f"a refresh would leave {left:,} of the {self.parent.items:,} items of {self.parent.id}, "
                f"rollout.refresh_keeps is {least:g}; have events stopped coming in? {self.parent.id} goes on serving"
            )
        return find_moves(self.tower, self.contents, self.store.locate(self.parent.key), self.config)

    def make(self, moves: Moves, *, show: bool) -> tuple[BuildReport, BuildRow]:
        """Build, publish and register."""
        from retrieval.index.build import build_index
        from retrieval.index.contents import build_inputs_hash
        from retrieval.index.moves import held_queries

        address = build_inputs_hash(self.tower, self.contents, self.config, refreshed=True)
        queries = held_queries(moves.folder, self.config.shards)
        reserved = self.registry.reserve_build(
            self.parent.model_version, inputs_hash=address, parent=self.parent.number
        )
        try:
            report = build_index(
                self.store, self.tower, self.contents, reserved.id, self.config, queries=queries, moves=moves, show=show
            )
        except BaseException as error:  # an interrupted one, too: it is not taken up again
            self.registry.set_build_state(reserved.id, "failed", reason=str(error) or type(error).__name__)
            raise
        row = BuildRow(
            model=reserved.model,
            number=reserved.number,
            version=reserved.version,
            space_id=self.tower.space_id,
            key=report.key,
            shards=len(report.shards),
            items=report.items,
            recall=report.recall,
            inputs_hash=address,
            created_at=reserved.created_at,
            digest=report.digest,
            parent=self.parent.number,
            at_us=self.contents.at_us,
        )
        return report, self.registry.add_build(row)

    def deploy(self, build: BuildRow, say: Say) -> DeploymentReport:
        """Let it take its parent's place on the hosts, then collect refreshes that nothing needs any more."""
        from retrieval.serving.wire.ann_client import AnnClient

        settings = self.workspace.settings
        with closing(AnnClient(build.model)) as hosts:
            done = refresh(
                self.registry,
                self.store,
                hosts,
                build.id,
                settings.rollout,
                alive_s=settings.registry.alive_s,
                show=say,
            )
        collect(
            self.registry,
            self.store,
            build.model,
            keep_builds=settings.rollout.keep_builds,
            keep_versions=settings.serving.towers_kept,
            refreshed_only=True,
        )
        return done
