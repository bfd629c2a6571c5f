"""`retrieval serve`: ANN hosts, the candidate service, or a whole local fleet."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.console import SetOption, WorkspaceOption, open_workspace
from retrieval.workflows.workspace import Workspace

if TYPE_CHECKING:
    from retrieval.serving.local_fleet.supervisor import Member

RUN = "run"
"""Folder in the workspace for what running services write: logs, the fleet's file, what hosts remember."""

ListenOption = Annotated[
    str, typer.Option("--listen", help="Address to listen on. Loopback unless you say otherwise: there is no login.")
]
AdvertiseOption = Annotated[
    str | None,
    typer.Option("--advertise", help="host:port that others reach this process at, if not what it listens on."),
]
ParentOption = Annotated[int | None, typer.Option("--parent", hidden=True, help="Process to end with.")]


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    noun = typer.Typer(help="Serve candidates over gRPC.", no_args_is_help=True)
    noun.command("ann")(serve_ann)
    noun.command("candidates")(serve_candidates)
    noun.command("all")(serve_all)
    app.add_typer(noun, name="serve")


def serve_ann(
    *,
    shard: Annotated[int, typer.Option("--shard", min=0, help="Which shard (from 0) of every build this host serves.")],
    build: Annotated[str | None, typer.Option("--build", help="Start with this build, not the deployed one.")] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 for a free one.")] = 0,
    host_id: Annotated[
        str | None, typer.Option("--host-id", help="Name in the fleet, the same after a restart.")
    ] = None,
    takedowns: Annotated[
        Path | None,
        typer.Option(
            "--takedowns",
            metavar="FILE",
            help="Item ids that are never answered, one a line; serving.takedowns if not given. Changes take effect "
            "within a second or two.",
        ),
    ] = None,
    listen: ListenOption = "127.0.0.1",
    advertise: AdvertiseOption = None,
    parent: ParentOption = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Run one ANN host in the foreground, until SIGTERM or Ctrl-C.

    Example: `retrieval serve ann --shard 0 --port 50061`
    """
    from retrieval.index.verified import VerifiedShards
    from retrieval.observability import set_up_logs
    from retrieval.serving.ann.host import AnnHost
    from retrieval.serving.ann.service import AnnService
    from retrieval.serving.wire.server import wait_for_signal
    from retrieval.types import BuildId

    set_up_logs()
    _follow(parent)
    here = open_workspace(workspace, overrides)
    settings = here.settings.serving
    name = host_id or f"ann-{shard}-{socket.gethostname()}-{port}"
    verified = VerifiedShards(here.root / RUN / "verified")
    service = AnnService(
        AnnHost(name, here.model, shard, here.store(), verified=verified, check_space=_check_space()),
        settings,
        address=f"{listen}:{port}",
        run_folder=here.root / RUN,
        connect=here.registry,
        advertise=advertise,
        takedowns=takedowns or _takedowns(here),
    )
    service.start(BuildId.parse(build, model=here.model) if build else None)
    wait_for_signal()
    service.stop()


def serve_candidates(
    *,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port; serving.candidates_port if not given.")
    ] = None,
    hosts: Annotated[
        list[str] | None, typer.Option("--host", metavar="HOST:PORT", help="An ANN host beside the registry's.")
    ] = None,
    host_id: Annotated[str, typer.Option("--host-id", help="Name in the registry.")] = "candidates-0",
    listen: ListenOption = "127.0.0.1",
    advertise: AdvertiseOption = None,
    parent: ParentOption = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Run the candidate service in the foreground, until SIGTERM or Ctrl-C.

    Example: `retrieval serve candidates --port 50051 --host 10.0.0.7:50061`
    """
    from retrieval.observability import set_up_logs
    from retrieval.serving.candidates.service import CandidateService
    from retrieval.serving.wire.server import wait_for_signal

    set_up_logs()
    _follow(parent)
    here = open_workspace(workspace, overrides)
    settings = here.settings.serving
    service = CandidateService(
        here.model,
        here.store(),
        settings,
        address=f"{listen}:{settings.candidates_port if port is None else port}",
        user_store=here.root / settings.user_store,
        hosts=hosts or (),
        connect=here.registry,
        host_id=host_id,
        advertise=advertise,
    )
    service.start()
    wait_for_signal()
    service.stop()


def serve_all(
    *,
    replicas: Annotated[
        int | None, typer.Option("--replicas", min=1, help="ANN hosts per shard; serving.replicas if not given.")
    ] = None,
    shards: Annotated[
        int | None, typer.Option("--shards", min=1, help="Shards; those of the deployed build if not given.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port of the candidate service; 0 for a free one.")
    ] = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Run a local fleet in the foreground: ANN hosts and candidate service, each a process, restarted if they die.

    Example: `retrieval serve all --replicas 2`
    """
    from retrieval.observability import set_up_logs
    from retrieval.serving.ann.takedowns import TakedownFile
    from retrieval.serving.local_fleet.supervisor import Supervisor, free_port

    set_up_logs()
    here = open_workspace(workspace, overrides)
    settings = here.settings.serving
    listed = _takedowns(here)
    if listed is not None:
        TakedownFile(listed).read()  # said here and now, not in the logs of hosts that can't start
    wanted = settings.candidates_port if port is None else port
    address = f"127.0.0.1:{wanted or free_port()}"
    members = _members(here, address, replicas or settings.replicas, shards or _deployed_shards(here), overrides or [])
    run_folder = here.root / RUN

    def ready() -> None:
        sys.stderr.write(f"serving on {address} ({len(members)} processes; logs in {run_folder}); Ctrl-C stops\n")
        sys.stderr.flush()

    Supervisor(members, run_folder, drain_s=settings.drain_s).run(ready)


def _takedowns(here: Workspace) -> Path | None:
    named = here.settings.serving.takedowns
    return here.root / named if named else None


def _members(here: Workspace, address: str, replicas: int, shards: int, overrides: list[str]) -> list[Member]:
    from retrieval.serving.local_fleet.supervisor import Member, free_port

    shared = ["--workspace", str(here.root), "--parent", str(os.getpid())]
    for override in overrides:
        shared += ["--set", override]
    base = here.settings.serving.ann_port
    members: list[Member] = []
    for replica in range(replicas):
        for shard in range(shards):
            port = base + len(members) if base else free_port()
            name = f"ann-{shard}-{replica}"
            argv = _command("serve", "ann", "--shard", str(shard), "--port", str(port), "--host-id", name, *shared)
            members.append(Member(name, "ann", argv, f"127.0.0.1:{port}", shard, replica))
    argv = _command("serve", "candidates", "--port", address.rpartition(":")[2], *shared)
    return [*members, Member("candidates-0", "candidates", argv, address)]


def _command(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "retrieval.cli.main", *arguments)


def _deployed_shards(here: Workspace) -> int:
    """Shards of the build that is, or is being, deployed; as the settings say where there is none."""
    from retrieval.errors import RetrievalError

    try:
        registry = here.registry()
        row = registry.target_build(here.model)
        registry.close()
    except RetrievalError as error:
        sys.stderr.write(f"the registry is away, so index.shards says how many shards: {error}\n")
        row = None
    return row.shards if row is not None and row.shards else here.settings.index.shards


def _follow(parent: int | None) -> None:
    if parent is not None:
        from retrieval.serving.local_fleet.supervisor import die_with_parent

        die_with_parent(parent)


def _check_space() -> bool:
    """Always; but for the test that shows what the check is for."""
    return os.environ.get("RETRIEVAL_TEST_NO_SPACE_CHECK") != "1"
