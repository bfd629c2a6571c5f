"""Roll-out, refresh and roll-back: one build comes to all ANN hosts of a model, replica by replica, or all stay as they
were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from retrieval.errors import ConflictError, NotFoundError, RetrievalError
from retrieval.registry import BuildRow, DeploymentRow, Registry
from retrieval.registry.rows import DeploymentKind
from retrieval.rollout.config import RolloutConfig
from retrieval.rollout.controller import controller_mark, was_interrupted
from retrieval.rollout.deployment_run import DeploymentRun, SupersededError
from retrieval.rollout.gates.before_deploying import check_deployable, possible_builds
from retrieval.rollout.hosts import AnnHostControl, HostChange
from retrieval.storage import ArtifactStore
from retrieval.types import BuildId

Show = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DeploymentReport:
    """How a deployment ended, host by host."""

    deployment: DeploymentRow
    hosts: tuple[HostChange, ...]

    @property
    def down(self) -> tuple[HostChange, ...]:
        """Hosts that could not be reached; each takes the build up by itself when it is back."""
        return tuple(host for host in self.hosts if host.outcome == "down")


def deploy(
    registry: Registry,
    store: ArtifactStore,
    control: AnnHostControl,
    build: BuildId,
    config: RolloutConfig,
    *,
    alive_s: float,
    supersede: bool = False,
    without_hosts: bool = False,
    show: Show = lambda _: None,
) -> DeploymentReport:
    """Bring `build` to the hosts, one after another; if one can't load it, put all back and raise what it answered.

    A deployment whose controller is gone is superseded, and a refresh always; one that may still run only with
    `supersede`.
    `without_hosts` records the build as the active one though no host is up: hosts load it when they start.
    Raises NotFoundError, ConflictError, GateError, ArtifactError, UnavailableError.
    """
    row = check_deployable(registry, store, build)
    run = DeploymentRun(
        registry, control, row, config, alive_s=alive_s, together=False, need_hosts=not without_hosts, show=show
    )
    run.wait_for_shards()
    other = registry.running_deployment(build.model)
    if other is not None and not (supersede or other.kind == "refresh" or was_interrupted(other)):
        raise ConflictError(f"{_named(other)} may still be running; wait for it, or say --supersede if it is not")
    return _run_deployment(registry, run, row, kind="deploy", other=other, show=show)


def refresh(
    registry: Registry,
    store: ArtifactStore,
    control: AnnHostControl,
    build: BuildId,
    config: RolloutConfig,
    *,
    alive_s: float,
    show: Show = lambda _: None,
) -> DeploymentReport:
    """Bring a refreshed build to the hosts that are up, in the place of the build that it was made from.

    All shards at once: both builds are of one space, so that answers may hold items of either. Waits for no host; one
    that is down takes the build up when it is back. Raises ConflictError where another deployment runs or the build's
    parent is no longer the active one, and as `deploy` does.
    """
    row = check_deployable(registry, store, build)
    if row.parent is None:
        raise ConflictError(f"{build} was not refreshed from another build; deploy it")
    need_hosts = bool(registry.hosts(build.model, role="ann", alive_within_s=alive_s))
    quick = config.model_copy(update={"host_wait_s": 0.0, "host_lost_s": min(config.host_lost_s, alive_s)})
    run = DeploymentRun(registry, control, row, quick, alive_s=alive_s, together=True, need_hosts=need_hosts, show=show)
    other = registry.running_deployment(build.model)
    if other is not None and not was_interrupted(other):
        raise ConflictError(f"{_named(other)} is running; what it brings will be refreshed when it is done")
    return _run_deployment(registry, run, row, kind="refresh", other=other, show=show, replaces=row.parent)


def rollback(
    registry: Registry,
    store: ArtifactStore,
    control: AnnHostControl,
    model: str,
    config: RolloutConfig,
    *,
    alive_s: float,
    to: BuildId | None = None,
    show: Show = lambda _: None,
) -> DeploymentReport:
    """Go back to the build before the active one (or `to`): the shards at once, the replicas one after another.

    A deployment that is running is superseded: going back must not wait for it. Raises like `deploy`.
    """
    row = rollback_target(registry, store, model, to)
    run = DeploymentRun(registry, control, row, config, alive_s=alive_s, together=True, need_hosts=True, show=show)
    run.wait_for_shards()
    other = registry.running_deployment(model)
    return _run_deployment(registry, run, row, kind="rollback", other=other, show=show)


def rollback_target(registry: Registry, store: ArtifactStore, model: str, to: BuildId | None) -> BuildRow:
    """The build that a roll-back would go to, its artifacts seen to be there. The error says what else is possible."""
    try:
        if to is not None:
            return check_deployable(registry, store, to)
        previous = registry.previous_build(model)
        if previous is None:
            raise NotFoundError(f"{model}: no build was active before this one")
        return check_deployable(registry, store, previous.id)
    except RetrievalError as error:
        possible = ", ".join(map(str, possible_builds(registry, store, model))) or "none"
        raise type(error)(f"can't roll back: {error}; possible with --to: {possible}") from error


def _run_deployment(
    registry: Registry,
    run: DeploymentRun,
    row: BuildRow,
    *,
    kind: DeploymentKind,
    other: DeploymentRow | None,
    show: Show,
    replaces: int | None = None,
) -> DeploymentReport:
    if other is not None:
        how = "was interrupted" if was_interrupted(other) else "had not ended"
        show(f"{_named(other)} {how}; superseding it")
    started = registry.start_deployment(
        row.id, kind=kind, supersede=other is not None, note=controller_mark(), replaces=replaces
    )
    try:
        run.change_hosts(started)
    except SupersededError:
        raise
    except RetrievalError as error:
        note = run.restore_previous(started)
        registry.finish_deployment(started.id, "failed", note=f"{error}; {note}")
        raise type(error)(f"{kind} {started.id} of {row.id} failed: {error}; {note}") from error
    except KeyboardInterrupt:
        show(
            f"interrupted: {kind} {started.id} stays open, each host goes on with what it serves. "
            f"`retrieval deploy {row.id}` takes it up again, `retrieval rollback` goes back"
        )
        raise
    done = registry.finish_deployment(started.id, "done", note=run.summary())
    return DeploymentReport(done, run.changes)


def _named(row: DeploymentRow) -> str:
    when = f"{row.started_at:%Y-%m-%d %H:%M:%S}Z"
    return f"{row.kind} {row.id} of {row.build_id} (started by {row.who} at {when})"
