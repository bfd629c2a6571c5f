"""Making a synthetic log in a workspace."""

from __future__ import annotations

from retrieval.simulation.synthetic import SynthConfig, Synthesised, write_synthetic
from retrieval.workflows.data.importing import DATA
from retrieval.workflows.workspace.suggested import apply_suggestion
from retrieval.workflows.workspace.workspace import Workspace


def synthesise_events(
    workspace: Workspace, config: SynthConfig, *, first_day: int = 0, write_settings: bool = False, show: bool = True
) -> Synthesised:
    """Write events, users and items of a simulated world, from `first_day` on, into the workspace's data folder.

    With `write_settings`, the settings that fit go into retrieval.toml. Raises ConfigError.
    """
    made = write_synthetic(config, workspace.root / DATA, first_day=first_day, show=show)
    if write_settings:
        apply_suggestion(workspace, made.suggestion)
    return made
