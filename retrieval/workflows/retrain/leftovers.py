"""What retrainings leave in a workspace beside artifacts: histories of older logs, runs that nobody goes on with."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from retrieval.data.dataset import HISTORIES, histories_folder
from retrieval.registry import Registry
from retrieval.workflows.training.train import RUNS
from retrieval.workflows.workspace import Workspace


def remove_leftovers(workspace: Workspace, registry: Registry, *, keep: str) -> list[str]:
    """Remove histories that the chain built of older states of the log, all but the newest `retrain.keep_logs`, and
    checkpoints that nobody has written to for `rollout.abandoned_hours`. The snapshot `keep` stays, and histories that
    the chain didn't build. What is mapped stays readable. Returns names.
    """
    rows = registry.retraining.steps(workspace.model, "histories")
    snapshots = list(dict.fromkeys(str(row.output["snapshot"]) for row in rows if row.output.get("snapshot")))
    kept = {keep, *snapshots[: workspace.settings.retrain.keep_logs]}
    removed = []
    for snapshot in snapshots:
        folder = histories_folder(workspace.root, snapshot)
        if snapshot in kept or not folder.is_dir():
            continue
        shutil.rmtree(folder, ignore_errors=True)
        for beside in folder.parent.glob(f"{folder.name}.*"):
            beside.unlink(missing_ok=True)
        removed.append(f"{HISTORIES}/{snapshot[:12]}")
    return [*removed, *_remove_runs(workspace)]


def _remove_runs(workspace: Workspace) -> list[str]:
    """A training that runs writes a checkpoint every few minutes; one that was interrupted may be gone on with."""
    folder = workspace.root / RUNS / workspace.model
    before = time.time() - workspace.settings.rollout.abandoned_hours * 3600
    left = [path for path in folder.glob("*") if path.is_dir() and _newest(path) < before]
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    return [f"{RUNS}/{path.name}" for path in left]


def _newest(folder: Path) -> float:
    """When anything in a folder was last changed, in seconds since 1970."""
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
