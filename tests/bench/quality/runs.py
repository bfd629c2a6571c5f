"""One training and its measurement: through the package's own pipeline, as `retrieval train` does it.

A version of the same inputs (settings, data, code, seed) is found again, not trained again; an interrupted training
goes on where it stopped; a measurement that was made is read from the work folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.report import Row


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
    served: bool = False


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
    from retrieval.pipeline.evaluate import item_vectors
    from retrieval.pipeline.recipes import load_recipe
    from retrieval.pipeline.train import train_version
    from retrieval.pipeline.workspace import Workspace
    from retrieval.storage import read_manifest
    from retrieval.towers.artifact import VERSION_KIND
    from retrieval.towers.runtime import load_user_tower
    from tests.bench.quality.datasets import DATASETS, check_track
    from tests.bench.quality.measure import measure

    data, recipe = DATASETS[job.dataset], load_recipe(job.recipe)
    flags = [*job.overrides, f"training.seed={job.seed}", f"training.threads={job.threads}"]
    flags += [f"evaluation.ks={list(data.ks)}", f"evaluation.max_targets={job.most}", *data.protocol]
    flags += data.cuts.get(job.cut, ())
    workspace = Workspace.open(job.root, flags, recipe=recipe.settings)
    check_track(job.track, workspace.settings.features)
    outcome = train_version(workspace, test=False, show=job.show)
    manifest = read_manifest(workspace.store().open_artifact(outcome.version.key, kind=VERSION_KIND))
    kept = job.root / "rows" / f"{_key(job, manifest.facts['inputs_hash'], workspace)}.json"
    if kept.exists():
        return list(json.loads(kept.read_text(encoding="utf-8")))
    dataset, started = workspace.dataset(show=False), time.monotonic()
    split = workspace.split(dataset)
    tower = load_user_tower(workspace.store(), outcome.version.id, threads=job.threads)
    vectors = item_vectors(workspace, outcome.version.id, dataset, split)
    found = measure(job, workspace, dataset, split, tower, vectors)
    trained = manifest.facts["training"]
    rows = [{**_named(job), **row} for row in found]
    for row in rows:
        if row["kind"] in {"model", "cold start"}:
            row |= {
                "device": _device(workspace),
                "seconds": trained["seconds"],
                "examples_per_s": round(trained["examples"] / max(trained["seconds"], 1e-9)),
                "epochs": trained["epochs"],
                "best_epoch": trained["best_epoch"],
                "valid_ndcg@10": round(manifest.facts["validation"].get("ndcg@10", float("nan")), 4),
                "measure_seconds": round(time.monotonic() - started, 1),
                "version": str(outcome.version.id),
            }
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(rows), encoding="utf-8")
    return rows


def _named(job: Run) -> Row:
    named: Row = {"dataset": job.dataset, "track": job.track, "recipe": Path(job.recipe).stem, "seed": job.seed}
    if job.cut:
        named["cut"] = job.cut
    if job.targets != "test":
        named["split"] = job.targets
    return named | {"kind": "model"}


def _key(job: Run, inputs: str, workspace: object) -> str:
    """What decides a measurement, as a hash: the version's inputs, and how it is measured."""
    evaluation = workspace.settings.evaluation.model_dump(mode="json")  # type: ignore[attr-defined]
    how = {"targets": job.targets, "evaluation": evaluation, "named": _named(job), "served": job.served}
    return hashlib.sha256(json.dumps([inputs, how], sort_keys=True).encode()).hexdigest()[:24]


def _device(workspace: object) -> str:
    import torch

    from retrieval.training.machine import chosen_device

    device = chosen_device(workspace.settings.training)  # type: ignore[attr-defined]
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def described(job: Run) -> str:
    """For progress lines."""
    shown = asdict(job)
    return ", ".join(str(shown[name]) for name in ("dataset", "track", "recipe", "cut") if shown[name]) + (
        f", seed {job.seed}"
    )
