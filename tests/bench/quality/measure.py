"""Measuring one version: exact search over the protocol's candidates, the baselines beside it, new items apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from retrieval.data import Dataset, Split
from retrieval.data.corpus import measured_corpus
from retrieval.data.facts.training import item_counts
from retrieval.data.splits import evenly_spaced, rows_before
from retrieval.evaluation import EvaluationReport
from retrieval.evaluation.evaluate import ItemVectors
from retrieval.towers.runtime import UserTower
from retrieval.workflows.evaluation.evaluate import as_learned, evaluate_towers
from retrieval.workflows.workspace import Workspace
from tests.bench.quality.comparisons import comparison_rows
from tests.bench.quality.datasets import DATASETS
from tests.bench.quality.runs import Run
from tests.bench.report import Row

Rows = npt.NDArray[np.int64]


def measure(
    job: Run, workspace: Workspace, dataset: Dataset, split: Split, tower: UserTower, vectors: ItemVectors
) -> list[Row]:
    """Rows of kind model, baseline, comparison and cold start; every seed is compared with the same baselines, whose
    own rows are the first seed's.
    """
    data = DATASETS[job.dataset]
    names = data.baselines if job.targets == "test" else ()
    first = names if job.seed == 1 else ()
    config = workspace.settings.evaluation.model_copy(update={"slices": ()})
    targets = evenly_spaced(split.test if job.targets == "test" else split.valid, job.most)
    refit = workspace.settings.training.refit
    split = as_learned(split, dataset, "test" if job.targets == "test" else "valid", refit=refit)
    learned = known_until(dataset, split, targets)
    corpus = measured_corpus(workspace.settings.corpus, dataset, split, "test" if job.targets == "test" else "valid")

    def evaluated(rows: Rows, baselines: tuple[str, ...]) -> EvaluationReport:
        chosen = replace(split, train_end=learned, test=rows)
        beside = config.model_copy(update={"baselines": baselines})
        return evaluate_towers(dataset, chosen, tower, vectors, beside, corpus=corpus, show=job.show)

    report = evaluated(targets, names)
    rows = rows_of(report, "model", data.ks) + (rows_of(report, "baseline", data.ks) if first else [])
    rows += comparison_rows(report)
    counts = item_counts(dataset.histories, split.train_end)
    new = targets[counts[dataset.histories.items[targets]] == 0]
    if data.cold_start and len(new):
        share = {"share": round(len(new) / len(targets), 4)}
        cold = evaluated(new, first)
        rows += [share | row for row in rows_of(cold, "model", data.ks, kind="cold start")]
        rows += [share | row for row in rows_of(cold, "baseline", data.ks, kind="cold start baseline")]
    return rows


def known_until(dataset: Dataset, split: Split, targets: Rows) -> Rows:
    """What baselines may count, by user: of a split by time all that came before the first target, which is more than
    the model learns from (its validation window lies between).
    """
    if split.name != "time":
        return split.train_end
    start = int(dataset.histories.timestamps[targets].min())
    return rows_before(dataset.histories, start)


def rows_of(report: EvaluationReport, of: str, ks: tuple[int, ...], kind: str | None = None) -> list[Row]:
    """A row for the model, or for each baseline (`of`)."""
    scored = [report.model] if of == "model" and report.model else list(report.baselines) if of == "baseline" else []
    rows = []
    for scores in scored:
        row: Row = {"kind": kind or of}
        if of == "baseline":
            row["baseline"] = scores.name
        for k in ks:
            row[f"HR@{k}"] = round(scores.metrics[f"hr@{k}"], 5)
            row[f"NDCG@{k}"] = round(scores.metrics[f"ndcg@{k}"], 5)
        row |= {
            "stratified_HR@10": round(scores.metrics["stratified_hr@10"], 5),
            "coverage@10": round(scores.metrics["coverage@10"], 5),
            "MRR": round(scores.metrics["mrr"], 5),
            "HR@10_error": round(scores.errors["hr@10"], 5),
            "targets": report.targets,
            "candidates": report.candidates,
        }
        rows.append(row)
    return rows
