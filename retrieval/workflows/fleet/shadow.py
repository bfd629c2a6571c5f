"""Services of one build that nobody else knows of: on loopback, without the registry, with users of their own."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from retrieval.arrays import Ints
from retrieval.backoff import Backoff
from retrieval.data import Dataset
from retrieval.errors import UnavailableError
from retrieval.index.verified_shards import VerifiedShards
from retrieval.registry import BuildRow
from retrieval.serving.ann.host import AnnHost
from retrieval.serving.ann.service import AnnService
from retrieval.serving.candidates.service import CandidateService
from retrieval.serving.users.loading import user_records
from retrieval.serving.users.store import UserStore
from retrieval.serving.wire.candidate_client import serving_state
from retrieval.workflows.fleet.services import VERIFIED, takedowns_file
from retrieval.workflows.fleet.users import note_snapshot
from retrieval.workflows.workspace.workspace import RUN, Workspace

_PREFIX = "shadow-"
_ANY_PORT = "127.0.0.1:0"
_START_S = 120.0
_WAITS = Backoff(first_s=0.02, longest_s=0.5)


@contextmanager
def shadow_workspace(workspace: Workspace, dataset: Dataset, users: Ints) -> Iterator[Workspace]:
    """The workspace with a user store of its own, which holds some users (rows int64 [n]) as the log has them.

    Its services know no host but those that are started for it. What an interrupted one left behind goes.
    """
    run = workspace.root / RUN
    run.mkdir(parents=True, exist_ok=True)
    for left in run.glob(f"{_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=run) as folder:
        store = Path(folder) / "users"
        with closing(UserStore.create(store, gib=workspace.settings.serving.user_store_gib)) as opened:
            for _ in opened.load(user_records(dataset, users)):
                pass
        note_snapshot(store, dataset.snapshot)
        named = store.relative_to(workspace.root).as_posix()
        overrides = (*workspace.overrides, f"serving.user_store={named}", "serving.hosts=[]")
        yield Workspace.open(workspace.root, overrides, recipe=workspace.recipe)


@contextmanager
def shadow_fleet(workspace: Workspace, build: BuildRow) -> Iterator[str]:
    """ANN hosts for all shards of a build, and a candidate service that knows only these: its address.

    All in this process, over gRPC on loopback; the registry hears nothing of them. Raises NotFoundError, ArtifactError,
    UnavailableError.
    """
    with ExitStack() as running:
        hosts = [_ann_host(workspace, build, shard, running) for shard in range(build.shards)]
        settings = workspace.settings.serving
        service = CandidateService(
            workspace.model,
            workspace.store(),
            settings,
            address=_ANY_PORT,
            user_store=workspace.root / settings.user_store,
            corpus=workspace.settings.corpus,
            hosts=hosts,
            host_id=f"{_PREFIX}candidates",
        )
        service.start()
        running.callback(service.stop)
        _wait_until_ready(service.address, build)
        yield service.address


def _ann_host(workspace: Workspace, build: BuildRow, shard: int, running: ExitStack) -> str:
    run = workspace.root / RUN
    folder = running.enter_context(tempfile.TemporaryDirectory(prefix=_PREFIX, dir=run))
    host = AnnHost(f"{_PREFIX}{shard}", build.model, shard, workspace.store(), verified=VerifiedShards(run / VERIFIED))
    host.load(build.id, digest=build.digest)  # here, so that what is wrong with it is raised
    service = AnnService(
        host,
        workspace.settings.serving,
        address=_ANY_PORT,
        run_folder=Path(folder),
        takedowns=takedowns_file(workspace),
    )
    service.start(build.id)
    running.callback(service.stop)
    return service.address


def _wait_until_ready(address: str, build: BuildRow) -> None:
    by, failures = time.monotonic() + _START_S, 0
    while True:
        state = serving_state(address)
        if state is not None:
            served = {
                active.build
                for host in state.hosts
                if host.reachable
                for active in host.metadata.active
                if active.model == build.model
            }
            up = sum(host.reachable and len(host.metadata.active) > 0 for host in state.hosts)
            if served == {build.number} and up == build.shards and any(tower.ready for tower in state.towers):
                return
        failed = [] if state is None else [tower.error for tower in state.towers if tower.error]
        if failed:
            raise UnavailableError(f"the shadow service of {build.id} can't load its user tower: {failed[0]}")
        if time.monotonic() > by:
            raise UnavailableError(f"the shadow service of {build.id} was not ready within {_START_S:.0f} s")
        failures += 1
        time.sleep(_WAITS.wait_s(failures))
