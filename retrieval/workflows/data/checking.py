"""Checking and describing the events that a workspace's settings name, and building their histories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from retrieval.data import Dataset, Histories
from retrieval.data.dataset import HISTORIES
from retrieval.data.facts.repeats import engaged_before
from retrieval.data.facts.stats import DatasetStats, describe
from retrieval.data.reading.validation import Report, validate_events
from retrieval.errors import ConfigError, DataError
from retrieval.evaluation.report import unreachable_note
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


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """The test targets of the settings' split, and those of them that no model can reach as the settings are."""

    split: str
    test: int
    seen_before: int
    """The user had engaged with the item before."""
    note: str
    """Why they can't be reached and what to do; empty where they can be."""


@dataclass(frozen=True, slots=True)
class DataDescription:
    """Figures of a workspace's data, and of the targets it would be measured on."""

    stats: DatasetStats
    targets: TargetFacts | None
    """None where the split leaves nothing to train on or to measure."""


def describe_data(workspace: Workspace, *, show: bool = True) -> DataDescription:
    """Figures of the workspace's data. Raises DataError."""
    dataset = workspace.dataset(show=show)
    return DataDescription(describe(dataset), _target_facts(workspace, dataset))


def _target_facts(workspace: Workspace, dataset: Dataset) -> TargetFacts | None:
    try:
        split = workspace.split(dataset)
    except (ConfigError, DataError):  # said by whatever needs the split
        return None
    declared = workspace.settings.corpus.seen
    seen = int(engaged_before(dataset.histories, split.test, declared.within_us).sum())
    note = None if declared.allowed else unreachable_note(seen, seen)
    return TargetFacts(split.name, len(split.test), seen, note or "")


@dataclass(frozen=True, slots=True)
class BuiltHistories:
    """The histories of the workspace's data, and the folder that holds them."""

    histories: Histories
    folder: Path


def build_workspace_histories(workspace: Workspace, *, show: bool = True) -> BuiltHistories:
    """The histories of the workspace's data, built, or found where data and settings are the same. Raises DataError."""
    histories = workspace.dataset(show=show).histories
    return BuiltHistories(histories, workspace.root / HISTORIES / histories.snapshot)
