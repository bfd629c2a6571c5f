"""Item and user vectors of trained towers for `--data globo`, from a work folder of the quality bench.

    python -m tests.bench.quality --dataset globo --cut evening --seeds 1 --work build/bench-quality
    python -m tests.bench.ann.globo --quality build/bench-quality --work build/bench-ann

The items are those clicked before the cut, as an index built then holds them; the users are those asked for after it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from retrieval.data.config import parse_moment
from retrieval.data.corpus import open_corpus
from retrieval.data.splits import evenly_spaced
from retrieval.towers.runtime import load_user_tower
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.evaluate import item_vectors, user_vectors
from retrieval.workflows.workspace import Workspace
from retrieval.workflows.workspace.recipes import load_recipe
from tests.bench.ann.data import QUERIES
from tests.bench.quality.datasets import DATASETS


def main() -> None:
    """Encode and save."""
    parser = argparse.ArgumentParser(description="Vectors of the globo model")
    parser.add_argument("--quality", type=Path, required=True, help="work folder of tests.bench.quality")
    parser.add_argument("--work", type=Path, default=Path("build/bench-ann"), help="that of tests.bench.ann")
    parser.add_argument("--cut", default="evening")
    parser.add_argument("--version", type=int, default=1)
    given = parser.parse_args()
    data = DATASETS["globo"]
    flags = [*data.inputs["time"], *data.protocol_of("time"), *data.cuts[given.cut]]
    workspace = Workspace.open(given.quality / "globo", flags, recipe=load_recipe(data.recipes["time"]).settings)
    version = ModelVersion(workspace.model, given.version)
    dataset = workspace.dataset(show=False)
    split = workspace.split(dataset)
    cut = parse_moment(workspace.settings.data.split.test_from)
    encoded = item_vectors(workspace, version, dataset)
    items = encoded(cut) if callable(encoded) else encoded
    known = open_corpus(workspace.settings.corpus, dataset).items_at(cut)
    tower = load_user_tower(workspace.store(), version, threads=0)
    users = user_vectors(dataset, tower, evenly_spaced(split.test, QUERIES))
    given.work.mkdir(parents=True, exist_ok=True)
    np.save(given.work / "globo-items.npy", np.asarray(items[known], np.float32))
    np.save(given.work / "globo-users.npy", np.asarray(users, np.float32))


if __name__ == "__main__":
    main()
