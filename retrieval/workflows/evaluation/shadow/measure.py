"""All that is measured of a build before it is rolled out: parity, served quality, version skew, a replay."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import numpy as np

from retrieval.arrays import Ints
from retrieval.errors import ArtifactError, DataError, NotFoundError
from retrieval.evaluation.stages import Stages
from retrieval.registry import BuildRow
from retrieval.rollout.gates.facts import Lost, Replay, ServingFacts, Skew
from retrieval.serving.users.store import UserStore
from retrieval.towers.runtime import load_user_tower
from retrieval.workflows.evaluation.evaluate import EvaluationSetup
from retrieval.workflows.evaluation.golden_users import GoldenUsers, read_golden_users
from retrieval.workflows.evaluation.served.measure import measure_served
from retrieval.workflows.evaluation.served.shards import read_build
from retrieval.workflows.evaluation.served.targets import asked_targets
from retrieval.workflows.evaluation.shadow.answers import Asking, newest
from retrieval.workflows.evaluation.shadow.parity import measure_parity
from retrieval.workflows.evaluation.shadow.replay import replay
from retrieval.workflows.evaluation.shadow.skew import Half, measure_skew
from retrieval.workflows.fleet.shadow import shadow_fleet, shadow_workspace
from retrieval.workflows.workspace import Workspace

NO_LIVE = "there is no live version to compare with"


@dataclass(frozen=True)
class _Shadow:
    """A build that is looked at: what is asked of it, and by whom."""

    workspace: Workspace
    setup: EvaluationSetup
    asking: Asking
    ours: Half
    build: BuildRow
    address: str
    recent: Ints
    """int64 [n]: the newest targets' event rows."""


def measure_shadow(workspace: Workspace, build: BuildRow, live: BuildRow | None, *, requests: int) -> ServingFacts:
    """Start services of a build, and of the live one, that nobody else knows of, and ask both as users would.

    At most `requests` targets and recent requests. Raises NotFoundError, ArtifactError (of `build`), UnavailableError.
    """
    fewer = Workspace.open(
        workspace.root, (*workspace.overrides, f"evaluation.served_targets={requests}"), recipe=workspace.recipe
    )
    setup = EvaluationSetup.open(fewer, show=False).model_only()
    store = fewer.store()
    ours = Half(load_user_tower(store, build.model_version), read_build(store, build, setup.dataset))
    golden, no_golden = _golden(setup, build)
    targets, no_targets = _targets(setup, build, ours.held.at_us)
    tests = setup.split.test
    recent = newest(tests, np.asarray(setup.dataset.histories.timestamps[tests]), requests)
    users = np.unique(setup.dataset.histories.users_of(np.concatenate([golden.rows, targets, recent])))
    with shadow_workspace(fewer, setup.dataset, users) as shadow, shadow_fleet(shadow, build) as address:
        settings = shadow.settings.serving
        folder = shadow.root / settings.user_store
        with closing(UserStore.open(folder, gib=settings.user_store_gib)) as known:
            asking = Asking(setup.dataset, known, setup.config.ks[0], settings.max_history)
            one = _Shadow(shadow, setup, asking, ours, build, address, recent)
            parity = None if no_golden else measure_parity(asking, golden, ours.tower, ours.held, address)
            lost = None if no_targets else _lost(one)
            skew, replayed, why_not = _beside(one, live)
    unmeasured = {"parity": no_golden, "lost": no_targets, "skew": why_not, "replay": why_not}
    return ServingFacts(
        version=str(build.model_version),
        build=str(build.id),
        live="" if live is None or why_not else str(live.id),
        parity=parity,
        lost=lost,
        skew=skew,
        replay=replayed,
        unmeasured={name: why for name, why in unmeasured.items() if why},
    )


def _golden(setup: EvaluationSetup, build: BuildRow) -> tuple[GoldenUsers, str]:
    """What training wrote of some users; else nothing, and why."""
    version = build.model_version
    nothing = GoldenUsers(np.zeros(0, np.int64), np.zeros((0, 1), np.float32), "")
    found = read_golden_users(setup.workspace.store(), version)
    if found is None:
        return nothing, f"training kept no golden users of {version}"
    if found.snapshot != setup.dataset.snapshot:
        return nothing, f"the golden users of {version} are of another state of the log"
    return found, ""


def _targets(setup: EvaluationSetup, build: BuildRow, at_us: int) -> tuple[Ints, str]:
    """The targets whose answers are compared with what was measured; else none, and why."""
    try:
        return asked_targets(setup, build.model_version, at_us).rows, ""
    except DataError as error:
        return np.zeros(0, np.int64), str(error)


def _lost(one: _Shadow) -> Lost:
    found = measure_served(one.workspace, one.build.model_version, address=one.address, show=False).stages
    lost, where = _most_lost(found)
    return Lost(
        k=found.k,
        targets=found.targets,
        measured=found.first.hit_rate,
        served=found.last.hit_rate,
        lost=lost,
        where=where,
    )


def _most_lost(stages: Stages) -> tuple[float, str]:
    """The largest loss that can't be chance, at a stage that counts or in all; and where."""
    losses = [
        (one.loss, f"at the stage {one.name!r} ({one.what}{'; ' if one.remark else ''}{one.remark})")
        for one in stages.stages
        if one.loss is not None and one.counts
    ]
    sure = [(loss.value, where) for loss, where in [(stages.counted, "in all"), *losses] if loss.interval.low > 0.0]
    return max(sure, default=(0.0, ""))


def _beside(one: _Shadow, live: BuildRow | None) -> tuple[Skew | None, Replay | None, str]:
    """How the live build does beside it; else why that can't be said."""
    if live is None:
        return None, None, NO_LIVE
    if not len(one.recent):
        return None, None, "this split has no targets, so there are no requests to be asked"
    store = one.workspace.store()
    try:
        theirs = Half(load_user_tower(store, live.model_version), read_build(store, live, one.setup.dataset))
        with shadow_fleet(one.workspace, live) as address:
            sides = [
                (where, one.asking.requests(half.tower.features, one.recent))
                for where, half in ((one.address, one.ours), (address, theirs))
            ]
            replayed = replay(sides[0], sides[1], one.asking.k)
    except (NotFoundError, ArtifactError) as error:
        return None, None, f"the live build {live.id} can't be read: {error}"
    return measure_skew(one.setup, one.recent, one.ours, theirs), replayed, ""
