"""Bringing builds to the hosts of a workspace's model, going back, and collecting what nothing needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from retrieval.errors import ConfigError
from retrieval.registry import BuildRow
from retrieval.rollout.abandoned import give_up_abandoned
from retrieval.rollout.collect import CollectionReport, collect
from retrieval.rollout.deploy import DeploymentReport, deploy, rollback, rollback_target
from retrieval.rollout.gates.before_deploying import check_corpus
from retrieval.rollout.hosts import AnnHostControl
from retrieval.types import BuildId
from retrieval.workflows.workspace.workspace import Workspace

Say = Callable[[str], None]
Confirm = Callable[[str], bool]


def deploy_build(
    workspace: Workspace,
    build: BuildId,
    *,
    supersede: bool = False,
    without_hosts: bool = False,
    say: Say = lambda _: None,
) -> DeploymentReport:
    """Bring `build` to the hosts, one after another, while they go on answering; `say` is told of every step.

    `without_hosts` records it as the active build though no host is up: hosts load it when they start. `supersede` ends
    a deployment that is still marked as running elsewhere. Raises NotFoundError, ConflictError, GateError (also for a
    build that holds another corpus than the settings declare), ArtifactError, UnavailableError.
    """
    settings = workspace.settings
    with closing(workspace.registry()) as registry, _hosts(workspace) as hosts:
        check_corpus(workspace.store(), registry.get_build(build), settings.corpus.of_index())
        return deploy(
            registry,
            workspace.store(),
            hosts,
            build,
            settings.rollout,
            alive_s=settings.registry.alive_s,
            supersede=supersede,
            without_hosts=without_hosts,
            show=say,
        )


def roll_back(
    workspace: Workspace, to: BuildId | None = None, *, confirm: Confirm = lambda _: True, say: Say = lambda _: None
) -> DeploymentReport | None:
    """Go back to the build that was active before, or to another one; a deployment that is running is ended.

    `confirm` is shown the question, with both builds named; where it says no, nothing is done and None comes back.
    Raises as `deploy_build`.
    """
    settings, store = workspace.settings, workspace.store()
    with closing(workspace.registry()) as registry:
        target = rollback_target(registry, store, workspace.model, to)
        if not confirm(_question(registry.active_build(workspace.model), target)):
            return None
        with _hosts(workspace) as hosts:
            return rollback(
                registry,
                store,
                hosts,
                workspace.model,
                settings.rollout,
                alive_s=settings.registry.alive_s,
                to=target.id,
                show=say,
            )


def collect_garbage(workspace: Workspace, *, keep_builds: int | None = None, dry_run: bool = False) -> CollectionReport:
    """Delete versions and builds that nothing needs; the newest `keep_builds` stay (None: rollout.keep_builds).

    What has been in the making for more than rollout.abandoned_hours is given up first.

    Raises ConfigError, UnavailableError.
    """
    if keep_builds is not None and keep_builds < 1:
        raise ConfigError(f"keep_builds {keep_builds}: expected 1 or more")
    settings = workspace.settings
    with closing(workspace.registry()) as registry:
        if not dry_run:
            older = settings.rollout.abandoned_hours * 3600
            give_up_abandoned(registry, workspace.store(), workspace.model, older_than_s=older)
        return collect(
            registry,
            workspace.store(),
            workspace.model,
            keep_builds=keep_builds or settings.rollout.keep_builds,
            keep_versions=settings.serving.towers_kept,
            dry_run=dry_run,
        )


def _question(active: BuildRow | None, target: BuildRow) -> str:
    return f"Roll back from {active.id if active else 'nothing'} to {target.id} ({target.model_version})?"


@contextmanager
def _hosts(workspace: Workspace) -> Iterator[AnnHostControl]:
    from retrieval.serving.wire.ann_client import AnnClient

    with closing(AnnClient(workspace.model)) as hosts:
        yield hosts
