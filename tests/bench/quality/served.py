"""The same through the system: indexed at the shipped settings, served by real processes, asked over gRPC.

Where items come and go (globo) an index is only right for its moment: it is built as of some hours after the cut, and
asked for the hour after that. Exact search ranks the same items as the index holds, for the same targets.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from retrieval.data import Dataset, Split
from retrieval.data.config import parse_moment
from retrieval.data.corpus import as_built_at, end_of_log, open_corpus
from retrieval.evaluation import evaluate_vectors
from retrieval.towers.runtime import UserTower
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.evaluate import item_vectors, user_vectors
from retrieval.workflows.indexing.build import build_version_index
from retrieval.workflows.workspace import Workspace
from tests.bench.quality.datasets import DATASETS
from tests.bench.quality.measure import spaced
from tests.bench.quality.runs import Run
from tests.bench.report import Row
from tests.whole_path import asked, retrieval, served_hit_rate

Rows = npt.NDArray[np.int64]
_MOST = 6_040  # as many as MovieLens-1M has users
_HOUR_US = 3_600_000_000


def serve_and_measure(
    job: Run, workspace: Workspace, version: ModelVersion, dataset: Dataset, split: Split, tower: UserTower
) -> Row:
    """HR@10 over gRPC beside that of exact search."""
    config = workspace.settings.evaluation.model_copy(update={"ks": (10,), "baselines": (), "slices": ()})
    as_of = _as_of(workspace, DATASETS[job.dataset].served_after_hours)
    here = _with_index(workspace, as_of)
    built = build_version_index(here, version, show=job.show).build
    rows = spaced(_targets(dataset, split, as_of), min(job.most, _MOST))
    at_us = parse_moment(as_of) if as_of else end_of_log(dataset.histories)
    corpus = as_built_at(open_corpus(workspace.settings.corpus, dataset), at_us)
    candidates = corpus.items_at(at_us)
    assert built.items == candidates.sum(), "exact search ranks what the index holds"
    exact = evaluate_vectors(
        dataset.histories,
        rows,
        lambda chosen: user_vectors(dataset, tower, chosen),
        item_vectors(here, version, dataset),
        corpus=corpus,
        train_end=split.train_end,
        config=config,
    ).metrics["hr@10"]
    retrieval(job.root, "users", "load")
    retrieval(job.root, "deploy", str(built.id), "--without-hosts", "--supersede")
    with asked(job.root, patience_s=600.0) as stub:
        served = served_hit_rate(stub, dataset, rows, allow_seen=corpus.config.allow_seen)
    return {
        "kind": "served",
        "HR@10": round(served, 5),
        "HR@10_exact": round(exact, 5),
        "HR@10_difference": round(served - exact, 5),
        "recall_of_index": round(built.recall, 4),
        "targets": len(rows),
        "candidates": int(candidates.sum()),
        **({"index_as_of": as_of} if as_of else {}),
    }


def _as_of(workspace: Workspace, hours: float | None) -> str:
    if hours is None:
        return ""
    moment = datetime.fromisoformat(workspace.settings.data.split.test_from).replace(tzinfo=UTC)
    return (moment + timedelta(hours=hours)).isoformat()


def _with_index(workspace: Workspace, as_of: str) -> Workspace:
    index = workspace.settings.index.model_copy(update={"as_of": as_of})
    return Workspace(workspace.root, workspace.settings.model_copy(update={"index": index}))


def _targets(dataset: Dataset, split: Split, as_of: str) -> Rows:
    if not as_of:
        return split.test
    times, start = dataset.histories.timestamps[split.test], parse_moment(as_of)
    return split.test[(times >= start) & (times < start + _HOUR_US)]
