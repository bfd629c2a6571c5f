"""A whole fleet on this machine: planning its processes, and running them under one supervisor."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

from retrieval.errors import RetrievalError
from retrieval.workflows.fleet.services import takedowns_file
from retrieval.workflows.workspace.workspace import RUN, Workspace

if TYPE_CHECKING:
    from retrieval.serving.local_fleet.supervisor import Member

Say = Callable[[str], None]


def run_local_fleet(
    workspace: Workspace,
    *,
    replicas: int | None = None,
    shards: int | None = None,
    port: int | None = None,
    refresh_s: float | None = None,
    say: Say = lambda _: None,
) -> None:
    """Run ANN hosts and the candidate service, each a process that is restarted if it dies, until SIGTERM or SIGINT.

    `replicas` per shard (None: serving.replicas), `shards` (None: those of the deployed build), the candidate
    service's `port` (None: serving.candidates_port; 0: a free one). With `refresh_s`, one more process refreshes the
    index and the users every so many seconds. `say` is told once all answer. Raises ConfigError for a list of takedowns
    that can't be read, ConflictError where a fleet runs here, UnavailableError.
    """
    from retrieval.observability import set_up_logs
    from retrieval.serving.ann.takedowns import TakedownFile
    from retrieval.serving.local_fleet.supervisor import Supervisor, free_port

    set_up_logs()
    settings = workspace.settings.serving
    listed = takedowns_file(workspace)
    if listed is not None:
        TakedownFile(listed).read()  # said here and now, not in the logs of hosts that can't start
    chosen = settings.candidates_port if port is None else port
    address = f"127.0.0.1:{chosen or free_port()}"
    members = plan_local_fleet(
        workspace,
        address,
        replicas=replicas or settings.replicas,
        shards=shards or deployed_shards(workspace, say),
        refresh_s=refresh_s,
    )
    run_folder = workspace.root / RUN
    stale = staler_than_measured(workspace, refresh_s)

    def ready() -> None:
        if stale:
            say(stale)
        events = "".join(f", events are recorded on {one.address}" for one in members if one.role == "events")
        say(f"serving on {address}{events} ({len(members)} processes; logs in {run_folder}); Ctrl-C stops")

    Supervisor(members, run_folder, drain_s=settings.drain_s).run(ready)


def staler_than_measured(workspace: Workspace, refresh_s: float | None) -> str:
    """A line that says so where the index is refreshed less often than the corpus declares; empty where it isn't."""
    minutes = workspace.settings.corpus.refresh_minutes
    if not minutes or (refresh_s is not None and refresh_s <= 60 * minutes):
        return ""
    here = "never refreshed here" if refresh_s is None else f"refreshed every {refresh_s / 60:g} minutes here"
    return (
        f"the index is {here}; what is measured is one that is refreshed every {minutes:g} minutes "
        f"(corpus.refresh_minutes): --refresh {minutes:g}m keeps it so"
    )


def plan_local_fleet(
    workspace: Workspace, address: str, *, replicas: int, shards: int, refresh_s: float | None = None
) -> list[Member]:
    """The processes of a local fleet: `replicas` × `shards` ANN hosts, then the candidate service at `address`.

    Where events.enabled says so, the event service; last, with `refresh_s`, the process that refreshes the index.

    Each is this very installation's command, with the overrides that the workspace was opened with.
    """
    from retrieval.serving.local_fleet.supervisor import Member, free_port

    shared = ["--workspace", str(workspace.root), "--parent", str(os.getpid())]
    for override in workspace.overrides:
        shared += ["--set", override]
    base = workspace.settings.serving.ann_port
    members: list[Member] = []
    for replica in range(replicas):
        for shard in range(shards):
            port = base + len(members) if base else free_port()
            name = f"ann-{shard}-{replica}"
            argv = retrieval_command(
                "serve", "ann", "--shard", str(shard), "--port", str(port), "--host-id", name, *shared
            )
            members.append(Member(name, "ann", argv, f"127.0.0.1:{port}", shard, replica))
    argv = retrieval_command("serve", "candidates", "--port", address.rpartition(":")[2], *shared)
    members.append(Member("candidates-0", "candidates", argv, address))
    events = workspace.settings.events
    if events.enabled:
        port = events.port or free_port()
        argv = retrieval_command("serve", "events", "--port", str(port), *shared)
        members.append(Member("events-0", "events", argv, f"127.0.0.1:{port}"))
    if refresh_s is not None:
        argv = retrieval_command("index", "refresh", "--every", f"{refresh_s:g}s", *shared)
        members.append(Member("refresh-0", "refresh", argv, ""))
    return members


def retrieval_command(*arguments: str) -> tuple[str, ...]:
    """A command line of this very installation."""
    return (sys.executable, "-m", "retrieval.cli.main", *arguments)


def deployed_shards(workspace: Workspace, say: Say = lambda _: None) -> int:
    """Shards of the build that is, or is being, deployed; as index.shards says where there is none.

    A registry that is away is said to `say`, and counts as one without a build.
    """
    try:
        with closing(workspace.registry()) as registry:
            row = registry.target_build(workspace.model)
    except RetrievalError as error:
        say(f"the registry is away, so index.shards says how many shards: {error}")
        row = None
    return row.shards if row is not None and row.shards else workspace.settings.index.shards
