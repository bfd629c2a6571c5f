"""Our side of the comparison: fit, time the epochs, measure the last one's weights on the test targets.

    python -m tests.bench.peers.retrieval_fit REQUEST.json ANSWER.json

Validation is left out (the peer has none); what is measured are the weights after the last epoch.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from retrieval.towers.pair import TowerPair
from retrieval.training.loop import train
from retrieval.training.rows_read import fit_read
from retrieval.workflows.training.train import Training
from retrieval.workflows.workspace import Workspace
from retrieval.workflows.workspace.recipes import load_recipe


class EpochClock:
    """Stands where validation would: called after every epoch, it notes the time, and calls each epoch the best."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._mark = time.perf_counter()

    def __call__(self, pair: TowerPair) -> Mapping[str, float]:
        now = time.perf_counter()
        self.seconds.append(now - self._mark)
        self._mark = now
        return {"epoch": float(len(self.seconds))}


def main(request_file: str, answer_file: str) -> None:
    """Answer one request."""
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    recipe = load_recipe(request["recipe"]).settings if request["recipe"] else None
    workspace = Workspace.open(Path(request["workspace"]), request["overrides"], recipe=recipe)
    settings = workspace.settings
    dataset = workspace.dataset(show=False)
    split = workspace.split(dataset)
    started = time.perf_counter()
    features = fit_read(settings.features, dataset, split, settings.training)
    clock = EpochClock()
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            dataset,
            split,
            features,
            settings.towers,
            settings.training,
            run_dir=Path(folder),
            validate=clock,
            positive_actions=settings.data.positive_actions,
            show=False,
        )
    fit = time.perf_counter() - started
    started = time.perf_counter()
    report = Training(settings, dataset, split, features).evaluate(result.pair, "model", show=False)
    assert report is not None
    answer = {
        "epoch_seconds": clock.seconds,
        "fit_seconds": fit,
        "targets": round(result.examples / result.epochs),
        "steps": round(result.steps / result.epochs),
        "parameters": sum(one.numel() for one in result.pair.parameters()),
        "measure_seconds": time.perf_counter() - started,
        "metrics": {name: report.metrics[name] for name in ("hr@10", "ndcg@10")},
        "versions": {name: metadata.version(name) for name in ("retrieval", "torch", "numpy")},
    }
    Path(answer_file).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
