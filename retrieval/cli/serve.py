"""`retrieval serve`: ANN hosts, the candidate service, the event service, or a whole local fleet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from retrieval.cli.console import SetOption, WorkspaceOption, open_workspace
from retrieval.cli.times import read_seconds

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
    noun.command("events")(serve_events)
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
    from retrieval.types import BuildId
    from retrieval.workflows.fleet.services import run_ann_host

    here = open_workspace(workspace, overrides)
    run_ann_host(
        here,
        shard,
        build=BuildId.parse(build, model=here.model) if build else None,
        port=port,
        host_id=host_id,
        takedowns=takedowns,
        listen=listen,
        advertise=advertise,
        parent=parent,
    )


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
    from retrieval.workflows.fleet.services import run_candidate_service

    run_candidate_service(
        open_workspace(workspace, overrides),
        port=port,
        hosts=hosts or (),
        host_id=host_id,
        listen=listen,
        advertise=advertise,
        parent=parent,
    )


def serve_events(
    *,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port; events.port if not given.")
    ] = None,
    listen: ListenOption = "127.0.0.1",
    parent: ParentOption = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Run the event service in the foreground, until SIGTERM or Ctrl-C; one a workspace. Needs events.enabled.

    Example: `retrieval serve events --port 50052`
    """
    from retrieval.workflows.fleet.services import run_event_service

    run_event_service(open_workspace(workspace, overrides), port=port, listen=listen, parent=parent)


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
    refresh: Annotated[
        str | None,
        typer.Option(
            "--refresh",
            metavar="TIME",
            help="Refresh the index and the users so often, as 30s or 5m; never if not given.",
        ),
    ] = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Run a local fleet in the foreground: ANN hosts and candidate service, each a process, restarted if they die.

    With events.enabled, the event service as well.

    Example: `retrieval serve all --replicas 2 --refresh 5m`
    """
    from retrieval.workflows.fleet.local_fleet import run_local_fleet

    run_local_fleet(
        open_workspace(workspace, overrides),
        replicas=replicas,
        shards=shards,
        port=port,
        refresh_s=None if refresh is None else read_seconds("--refresh", refresh),
        say=_say,
    )


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
