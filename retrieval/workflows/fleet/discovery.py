"""Where a workspace's candidate service answers, and its event service."""

from __future__ import annotations

from contextlib import closing

from retrieval.errors import RetrievalError
from retrieval.serving.local_fleet.fleet_file import read_fleet
from retrieval.workflows.workspace.workspace import RUN, Workspace


def find_candidate_service(workspace: Workspace) -> str:
    """host:port of the candidate service: of the workspace's local fleet, else one in the registry that has reported.

    Where there is neither, or the registry is away: the settings' port on this machine.
    """
    fleet = read_fleet(workspace.root / RUN)
    if fleet is not None and fleet.candidates:
        return fleet.candidates
    try:
        with closing(workspace.registry()) as registry:
            within = workspace.settings.registry.alive_s
            alive = registry.hosts(workspace.model, role="candidates", alive_within_s=within)
    except RetrievalError:
        alive = []
    return alive[0].address if alive else f"127.0.0.1:{workspace.settings.serving.candidates_port}"


def find_event_service(workspace: Workspace) -> str:
    """host:port of the event service of the workspace's local fleet; empty where none runs."""
    fleet = read_fleet(workspace.root / RUN)
    found = [] if fleet is None else [member.address for member in fleet.members if member.role == "events"]
    return found[0] if found else ""
