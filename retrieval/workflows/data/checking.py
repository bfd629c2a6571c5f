"""Checking and describing the events that a workspace's settings name, and building their histories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from retrieval.data import Histories, open_dataset
from retrieval.data.dataset import HISTORIES
from retrieval.data.facts.stats import DatasetStats, describe
from retrieval.data.reading.validation import Report, validate_events
from retrieval.observability import track
from retrieval.workflows.data.importing import DATA
from retrieval.workflows.workspace.workspace import Workspace

REJECTS = Path(DATA) / "rejects" / "events.parquet"


def check_data(workspace: Workspace, *, show: bool = True) -> tuple[Report, Path | None]:
    """Check every event; the report, and the Parquet file with the refused rows (None where there are none).

    Raises DataError for files that can't be read.
    """
    path = workspace.root / REJECTS
    with track("Checking events", None, unit="events", show=show) as tracker:
        report = validate_events(workspace.settings.data, workspace.root, path, tracker=tracker)
    return report, path if report.rejected else None


def describe_data(workspace: Workspace, *, show: bool = True) -> DatasetStats:
    """Figures of the workspace's data. Raises DataError."""
    return describe(open_dataset(workspace.settings.data, workspace.root, show=show))


@dataclass(frozen=True, slots=True)
class BuiltHistories:
    """The histories of the workspace's data, and the folder that holds them."""

    histories: Histories
    folder: Path


def build_workspace_histories(workspace: Workspace, *, show: bool = True) -> BuiltHistories:
    """The histories of the workspace's data, built, or found where data and settings are the same. Raises DataError."""
    histories = open_dataset(workspace.settings.data, workspace.root, show=show).histories
    return BuiltHistories(histories, workspace.root / HISTORIES / histories.snapshot)
