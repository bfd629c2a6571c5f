"""One training and its measurement: through the package's own pipeline, as `retrieval train` does it.

A version of the same inputs (settings, data, code, seed) is found again, not trained again; an interrupted training
goes on where it stopped; a measurement that was made is read from the work folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from tests.bench.report import Row

if TYPE_CHECKING:
    from retrieval.workflows.workspace import Workspace


@dataclass(frozen=True)
class Run:
    """What is trained and measured."""

    dataset: str
    track: str
    recipe: str
    cut: str
    seed: int
    overrides: tuple[str, ...]
    targets: str
    """test or valid"""
    most: int
    """Targets that are measured; evenly spaced ones where there are more."""
    root: Path
    threads: int
    show: bool
    source: Path
    """Folder of the data sets."""
    users: int | None = None
    """So many of its users only; None: all."""
    served: bool = False
    """Made by the commands of the README, and asked over gRPC too."""


def run(job: Run) -> list[Row]:
    """Train, export, measure; the rows of one seed: the model, the targets that were new, the baselines."""
    # read by OpenMP when torch is loaded: idle threads must not take the time of those that work
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_NUM_THREADS", str(job.threads))
    try:
        return _run(job)
    except Exception as error:
        return [{**_named(job), "failed": f"{type(error).__name__}: {error}"[:500]}]


def _run(job: Run) -> list[Row]:
    from retrieval.storage import read_manifest
    from retrieval.towers.artifact import VERSION_KIND
    from retrieval.towers.runtime import load_user_tower
    from retrieval.workflows.evaluation.evaluate import item_vectors
    from retrieval.workflows.training.train import train_version
    from retrieval.workflows.workspace import Workspace
    from retrieval.workflows.workspace.recipes import load_recipe
    from retrieval.workflows.workspace.upgrade import upgrade_workspace
    from tests.bench.quality.commands import NO_RECIPE, trained_by_commands
    from tests.bench.quality.datasets import check_track
    from tests.bench.quality.measure import measure

    if job.served or job.recipe == NO_RECIPE:
        workspace = Workspace.open(trained_by_commands(job))
    else:
        workspace = Workspace.open(job.root, protocol_flags(job), recipe=load_recipe(job.recipe).settings)
        upgrade_workspace(workspace)
    check_track(job.track, workspace.settings.features)
    before = time.process_time()
    outcome = train_version(workspace, test=False, show=job.show)
    cpu = {} if outcome.found else {"cpu_seconds": round(time.process_time() - before, 1)}
    manifest = read_manifest(workspace.store().open_artifact(outcome.version.key, kind=VERSION_KIND))
    dataset = workspace.dataset(show=False)
    split = workspace.split(dataset)
    tower = load_user_tower(workspace.store(), outcome.version.id, threads=job.threads)
    key = _key(job, manifest.facts["inputs_hash"], workspace)
    kept = job.root / "rows" / f"{key}.json"
    if not kept.exists():
        started = time.monotonic()
        vectors = item_vectors(workspace, outcome.version.id, dataset)
        rows = [
            {**_named(job), **_window(workspace), **row}
            for row in measure(job, workspace, dataset, split, tower, vectors)
        ]
        for row in rows:
            if row["kind"] in {"model", "cold start"}:
                row.update(_training(manifest.facts, workspace) | cpu)
                row.update(measure_seconds=round(time.monotonic() - started, 1), version=str(outcome.version.id))
        _keep(kept, rows)
    rows = json.loads(kept.read_text(encoding="utf-8"))
    return [*rows, _served(job, workspace.root, key)] if job.served else rows


def protocol_flags(job: Run) -> list[str]:
    """The settings that a run is made with, beside those of its recipe: what its data set's protocol says, and more."""
    from tests.bench.quality.datasets import DATASETS

    data = DATASETS[job.dataset]
    inputs = () if job.recipe == "none" else data.inputs[job.track]
    flags = [*inputs, *job.overrides, f"training.seed={job.seed}", f"training.threads={job.threads}"]
    return [*flags, f"evaluation.ks={list(data.ks)}", *data.protocol_of(job.track), *data.cuts.get(job.cut, ())]


def _served(job: Run, root: Path, key: str) -> Row:
    """The row of the served system; what goes wrong in it is said there, and costs nothing of the rest."""
    from tests.bench.quality.served import serve_and_measure

    kept = job.root / "rows" / f"{key}-served.json"
    if not kept.exists():
        try:
            with FileLock(root / "serving.lock"):  # one fleet at a time in a workspace
                found = serve_and_measure(job, root)
        except Exception as error:
            return {**_named(job), "kind": "served", "failed": f"{type(error).__name__}: {error}"[:500]}
        _keep(kept, {**_named(job), **found})
    row: Row = json.loads(kept.read_text(encoding="utf-8"))
    return row


def _window(workspace: Workspace) -> Row:
    split = workspace.settings.data.split
    return {"test_from": split.test_from, "test_until": split.test_until} if split.test_from else {}


def _training(facts: Mapping[str, Any], workspace: Workspace) -> Row:
    trained = facts["training"]
    return {
        "device": _device(workspace),
        "seconds": trained["seconds"],
        "examples_per_s": round(trained["examples"] / max(trained["seconds"], 1e-9)),
        "epochs": trained["epochs"],
        "best_epoch": trained["best_epoch"],
        "valid_ndcg@10": round(facts["validation"].get("ndcg@10", float("nan")), 4),
    }


def _keep(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    from retrieval.storage.atomic import write_text

    write_text(path, json.dumps(content))


def _named(job: Run) -> Row:
    named: Row = {"dataset": job.dataset, "track": job.track, "recipe": Path(job.recipe).stem, "seed": job.seed}
    if job.cut:
        named["cut"] = job.cut
    if job.targets != "test":
        named["split"] = job.targets
    return named | {"kind": "model"}


def _key(job: Run, inputs: str, workspace: Workspace) -> str:
    """What decides a measurement, as a hash: the version's inputs, and how it is measured."""
    evaluation = workspace.settings.evaluation.model_dump(mode="json")
    corpus = workspace.settings.corpus.model_dump(mode="json")
    how = {"targets": job.targets, "most": job.most, "evaluation": evaluation, "corpus": corpus}
    how["named"] = _named(job)
    return hashlib.sha256(json.dumps([inputs, how], sort_keys=True).encode()).hexdigest()[:24]


def _device(workspace: Workspace) -> str:
    import torch

    from retrieval.training.machine import chosen_device

    device = chosen_device(workspace.settings.training)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def described(job: Run) -> str:
    """For progress lines."""
    shown = asdict(job)
    return ", ".join(str(shown[name]) for name in ("dataset", "track", "recipe", "cut") if shown[name]) + (
        f", seed {job.seed}"
    )
