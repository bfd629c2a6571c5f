"""All that a report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from retrieval.evaluation.bootstrap import LEVEL, RESAMPLES, Interval
from retrieval.evaluation.calibration import Calibration
from retrieval.evaluation.certainty import Comparison, Curve
from retrieval.evaluation.lists import ShownList
from retrieval.evaluation.neighbours import Neighbourhood
from retrieval.evaluation.report import EvaluationReport, Evidence, ModelScores
from retrieval.evaluation.reports.words import mixed, verdict
from retrieval.evaluation.served import ServedQuality


@dataclass(frozen=True)
class ItemLabels:
    """Ids of catalog rows, and readable names where the items have a column of such."""

    ids: Mapping[int, str]
    names: Mapping[int, str]
    column: str | None


@dataclass(frozen=True)
class Findings:
    """An evaluation with how certain its figures are, and what else says whether a version is good."""

    report: EvaluationReport
    scores: tuple[ModelScores, ...]
    """The model first, then the version it is compared with, if any, then the baselines."""
    evidence: Evidence
    """Its rankings are those of `scores`, in their order."""
    intervals: Mapping[str, Mapping[str, Interval]]
    slices: tuple[Mapping[str, Interval], ...]
    comparisons: tuple[Comparison, ...]
    curves: Mapping[str, Curve] | None = None
    facts: tuple[tuple[str, str], ...] = ()
    """What was measured and how, label and text."""
    warnings: tuple[str, ...] = ()
    calibration: Calibration | None = None
    temperature: str = ""
    """Where the temperature comes from, in words."""
    neighbourhoods: tuple[Neighbourhood, ...] = ()
    lists: tuple[ShownList, ...] = ()
    labels: ItemLabels | None = None
    served: ServedQuality | None = None
    """What services answer, where they were asked."""

    def sentences(self) -> list[str]:
        """What the comparisons amount to, in words."""
        found = []
        for one in self.comparisons:
            found += [verdict(one, f"{metric}@{self.report.ks[0]}", RESAMPLES) for metric in ("hr", "ndcg")]
            clash = mixed(one)
            found += [clash] if clash else []
        return found

    def to_dict(self) -> dict[str, Any]:
        """The evaluation with its intervals and comparisons, as JSON values."""
        body = self.report.to_dict()
        for row, intervals in zip(body["slices"], self.slices, strict=True):
            row["intervals"] = _bounds(intervals)
        return {
            **body,
            "bootstrap": {"resamples": RESAMPLES, "level": LEVEL, "unit": "users"},
            "against": next((asdict(one) for one in self.scores[1:2] if one not in self.report.baselines), None),
            "intervals": {name: _bounds(intervals) for name, intervals in self.intervals.items()},
            "comparisons": [_comparison(one) for one in self.comparisons],
            "calibration": None if self.calibration is None else _calibration(self.calibration, self.temperature),
            "warnings": list(self.warnings),
            "served": None if self.served is None else self.served.to_dict(),
        }


def slice_metrics(ks: tuple[int, ...]) -> tuple[str, ...]:
    """The metrics that slices are shown with."""
    return (f"hr@{ks[0]}", f"ndcg@{ks[0]}", "mrr")


def _bounds(intervals: Mapping[str, Interval]) -> dict[str, list[float | None]]:
    return {name: [bound if isfinite(bound) else None for bound in both] for name, both in intervals.items()}


def _comparison(found: Comparison) -> dict[str, Any]:
    differences = {
        name: {"value": one.value, "interval": list(one.interval), "p": one.p}
        for name, one in found.differences.items()
    }
    shares = {"won": found.won, "lost": found.lost, "tied": found.tied}
    return {"model": found.model, "other": found.other, "differences": differences, **shares}


def _calibration(found: Calibration, source: str) -> dict[str, Any]:
    names = ("temperature", "targets", "depth", "expected_error", "relative_error", "predicted_hit_rate", "hit_rate")
    values = {name: getattr(found, name) for name in names}
    return {
        **{name: value if isfinite(value) else None for name, value in values.items()},
        "temperature_source": source,
    }
