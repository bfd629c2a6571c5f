"""The services of a workspace, each run in this process until it is told to stop."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.errors import ConfigError
from retrieval.types import BuildId
from retrieval.workflows.workspace.workspace import RUN, Workspace

if TYPE_CHECKING:
    from retrieval.registry import BuildRow
    from retrieval.serving.in_process.service import InProcessService

VERIFIED = "verified"
"""Folder in the run folder: which shards were verified on this machine."""


def run_ann_host(
    workspace: Workspace,
    shard: int,
    *,
    build: BuildId | None = None,
    port: int = 0,
    host_id: str | None = None,
    takedowns: Path | None = None,
    listen: str = "127.0.0.1",
    advertise: str | None = None,
    parent: int | None = None,
) -> None:
    """Serve one shard (from 0) of the deployed build, or of `build`, until SIGTERM or SIGINT.

    Port 0 is a free one; `host_id` names the host in the fleet, the same after a restart; `takedowns` is a file with
    item ids that are never answered (None: as serving.takedowns says); `advertise` is the host:port that others reach
    this process at; with `parent`, it ends when that process does. Raises ConfigError, UnavailableError.
    """
    from retrieval.index.verified_shards import VerifiedShards
    from retrieval.observability import set_up_logs
    from retrieval.serving.ann.host import AnnHost
    from retrieval.serving.ann.service import AnnService
    from retrieval.serving.wire.server import wait_for_signal

    set_up_logs()
    end_with(parent)
    run_folder = workspace.root / RUN
    name = host_id or f"ann-{shard}-{socket.gethostname()}-{port}"
    verified = VerifiedShards(run_folder / VERIFIED)
    service = AnnService(
        AnnHost(name, workspace.model, shard, workspace.store(), verified=verified),
        workspace.settings.serving,
        address=f"{listen}:{port}",
        run_folder=run_folder,
        connect=workspace.registry,
        advertise=advertise,
        takedowns=takedowns or takedowns_file(workspace),
    )
    service.start(build)
    wait_for_signal()
    service.stop()


def run_candidate_service(
    workspace: Workspace,
    *,
    port: int | None = None,
    hosts: Sequence[str] = (),
    host_id: str = "candidates-0",
    listen: str = "127.0.0.1",
    advertise: str | None = None,
    parent: int | None = None,
) -> None:
    """Answer candidates over gRPC until SIGTERM or SIGINT; port None: as serving.candidates_port says.

    `hosts` are ANN hosts (host:port) beside those in the registry; the rest as for `run_ann_host`. Raises ConfigError,
    UnavailableError.
    """
    from retrieval.observability import set_up_logs
    from retrieval.serving.candidates.service import CandidateService
    from retrieval.serving.wire.server import wait_for_signal

    set_up_logs()
    end_with(parent)
    settings = workspace.settings.serving
    service = CandidateService(
        workspace.model,
        workspace.store(),
        settings,
        address=f"{listen}:{settings.candidates_port if port is None else port}",
        user_store=workspace.root / settings.user_store,
        corpus=workspace.settings.corpus,
        hosts=hosts,
        connect=workspace.registry,
        host_id=host_id,
        advertise=advertise,
    )
    service.start()
    wait_for_signal()
    service.stop()


def run_event_service(
    workspace: Workspace, *, port: int | None = None, listen: str = "127.0.0.1", parent: int | None = None
) -> None:
    """Record events over gRPC until SIGTERM or SIGINT; port None: as events.port says.

    Raises ConfigError where events.enabled is off, ConflictError where another process records, UnavailableError.
    """
    from retrieval.observability import set_up_logs
    from retrieval.serving.events.service import EventService
    from retrieval.serving.wire.server import wait_for_signal

    settings = workspace.settings
    if not settings.events.enabled:
        raise ConfigError("events.enabled is false; `enabled = true` under [events] in retrieval.toml lets events in")
    set_up_logs()
    end_with(parent)
    service = EventService(
        settings.events,
        settings.serving,
        settings.data,
        workspace.root,
        address=f"{listen}:{settings.events.port if port is None else port}",
    )
    service.start()
    wait_for_signal()
    service.stop()


def open_in_process(workspace: Workspace, build: BuildRow) -> InProcessService:
    """Hosts for every shard of a build and the candidate service's engine, in this process. Raises ArtifactError."""
    from retrieval.index.verified_shards import VerifiedShards
    from retrieval.serving.in_process.service import InProcessService

    settings = workspace.settings.serving
    return InProcessService(
        workspace.store(),
        build.id,
        build.shards,
        settings,
        user_store=workspace.root / settings.user_store,
        corpus=workspace.settings.corpus,
        digest=build.digest,
        verified=VerifiedShards(workspace.root / RUN / VERIFIED),
        takedowns=takedowns_file(workspace),
    )


def takedowns_file(workspace: Workspace) -> Path | None:
    """The file of items that are never answered, as serving.takedowns says; None where there is none."""
    named = workspace.settings.serving.takedowns
    return workspace.root / named if named else None


def end_with(parent: int | None) -> None:
    """Let this process end when the process `parent` does."""
    if parent is not None:
        from retrieval.serving.local_fleet.supervisor import die_with_parent

        die_with_parent(parent)
