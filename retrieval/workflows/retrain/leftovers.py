"""What retrainings leave in a workspace beside artifacts: histories of older logs, runs that nobody goes on with."""

from __future__ import annotations

import shutil

from retrieval.data.dataset import HISTORIES, histories_folder
from retrieval.registry import Registry
from retrieval.workflows.training.train import RUNS
from retrieval.workflows.workspace import Workspace


def remove_leftovers(workspace: Workspace, registry: Registry, *, keep: str) -> list[str]:
    """Remove histories that the chain built of older states of the log, all but the newest `retrain.keep_logs`, and
    checkpoints of trainings of such logs; the snapshot `keep` stays. What is mapped stays readable. Returns names.
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
    """Runs whose checkpoints are older than the newest one's: a later training was begun since then."""
    folder = workspace.root / RUNS / workspace.model
    runs = sorted(folder.glob("*"), key=lambda path: path.stat().st_mtime_ns) if folder.is_dir() else []
    for path in runs[:-1]:
        shutil.rmtree(path, ignore_errors=True)
    return [f"{RUNS}/{path.name}" for path in runs[:-1]]
