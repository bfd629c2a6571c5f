"""The model against each baseline on the same targets: paired differences with 95 % intervals, users drawn anew."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from retrieval.evaluation import EvaluationReport
from retrieval.evaluation.certainty import compare
from tests.bench.report import Row

COMPARED = {"hr@10": "HR@10", "ndcg@10": "NDCG@10", "hr@100": "HR@100"}


def comparison_rows(report: EvaluationReport) -> list[Row]:
    """A row for each baseline: of HR@10, NDCG@10 and HR@100 the model's minus the baseline's, and its bounds."""
    evidence = report.evidence
    if evidence is None or report.model is None:
        return []
    ours = (report.model.name, evidence.rankings[report.model.name].ranks)
    rows: list[Row] = []
    for scores in report.baselines:
        found = compare(evidence.users, ours, (scores.name, evidence.rankings[scores.name].ranks), (10, 100))
        row: Row = {"kind": "comparison", "baseline": scores.name, "targets": report.targets}
        for metric, name in COMPARED.items():
            one = found.differences[metric]
            row |= {f"{name}_difference": round(one.value, 5)}
            row |= {f"{name}_low": round(one.interval.low, 5), f"{name}_high": round(one.interval.high, 5)}
        rows.append(row)
    return rows


def mean_comparisons(rows: Sequence[Row]) -> list[Row]:
    """Each baseline's mean over the seeds of each cut, and over the cuts.

    Seeds share their targets, so bounds over seeds are the mean ones; cuts don't, so distances of bounds over cuts are
    combined as independent ones are: √(Σ d²) / n.
    """
    found = [row for row in rows if row["kind"] == "comparison"]
    made: list[Row] = []
    for baseline in dict.fromkeys(row["baseline"] for row in found):
        own = [row for row in found if row["baseline"] == baseline]
        cuts = list(dict.fromkeys(row.get("cut", "") for row in own))
        of = [_mean([row for row in own if row.get("cut", "") == cut], cut) for cut in cuts]
        made += [*of, _over_cuts(of)] if len(cuts) > 1 else of
    return made


def with_intervals(row: Row) -> Row:
    """The same with each difference and its bounds as people read them."""
    if not row["kind"].startswith("comparison"):
        return row
    texts = {
        f"Δ{name}": f"{row[f'{name}_difference']:+.4f} [{row[f'{name}_low']:+.4f}, {row[f'{name}_high']:+.4f}]"
        for name in COMPARED.values()
    }
    return row | texts


def _mean(group: Sequence[Row], cut: str) -> Row:
    figures = [key for key in group[0] if key.endswith(("_difference", "_low", "_high"))]
    named = _named(group[0]) | ({"cut": cut} if cut else {}) | {"seed": len(group)}
    return named | {key: round(statistics.fmean(row[key] for row in group), 5) for key in figures}


def _over_cuts(means: Sequence[Row]) -> Row:
    row = _named(means[0]) | {"cut": "all cuts", "seed": sum(one["seed"] for one in means)}
    for name in COMPARED.values():
        middle = statistics.fmean(one[f"{name}_difference"] for one in means)
        row[f"{name}_difference"] = round(middle, 5)
        for bound, sign in (("low", -1), ("high", 1)):
            distances = [one[f"{name}_{bound}"] - one[f"{name}_difference"] for one in means]
            combined = sum(distance**2 for distance in distances) ** 0.5 / len(means)
            row[f"{name}_{bound}"] = round(middle + sign * combined, 5)
    return row


def _named(row: Row) -> Row:
    kept = ("dataset", "track", "recipe", "split", "baseline")
    return {key: row[key] for key in kept if key in row} | {"kind": "comparison mean"}
