"""What is served where."""

from __future__ import annotations

from contextlib import closing

from retrieval.rollout.overview import Overview, overview
from retrieval.workflows.workspace.workspace import Workspace


def fleet_status(workspace: Workspace) -> Overview:
    """The model's active build, a deployment that is running, and its hosts. Raises UnavailableError."""
    settings = workspace.settings
    with closing(workspace.registry()) as registry:
        return overview(
            registry, workspace.model, alive_s=settings.registry.alive_s, forget_s=settings.rollout.host_lost_s
        )
