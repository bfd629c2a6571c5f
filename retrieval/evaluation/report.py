"""What an evaluation found, as plain data and as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rich.table import Table

from retrieval.arrays import Ints
from retrieval.data.corpus import Seen
from retrieval.data.corpus.words import described_seen
from retrieval.evaluation.ranking import Ranking
from retrieval.evaluation.slices import Slice


@dataclass(frozen=True)
class ModelScores:
    """The metrics of one model or baseline, by name: hr@K, ndcg@K, mrr, stratified_hr@K,
    coverage@K, gini@K, popularity_bias@K."""

    name: str
    metrics: Mapping[str, float]
    errors: Mapping[str, float]
    """Standard errors of the hit rates."""


@dataclass(frozen=True)
class SliceScores:
    """The model's metrics on one group of targets."""

    column: str
    value: str
    targets: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Evidence:
    """What the scores were computed from, target by target. T targets, C candidates."""

    targets: Ints
    """int64 [T]: event rows."""
    users: Ints
    """int64 [T]: user rows, which say what targets belong together."""
    columns: Ints
    """int64 [C]: catalog rows of the candidates."""
    counts: Ints
    """int64 [C]: their training events."""
    target_counts: Ints
    """int64 [C]: how many targets each of them is."""
    rankings: Mapping[str, Ranking]
    """By the name of the model or baseline."""
    slices: tuple[Slice, ...]


@dataclass(frozen=True)
class EvaluationReport:
    """An evaluation on the full corpus."""

    split: str
    targets: int
    available_targets: int
    """Targets of the split; more than `targets` where evenly spaced ones were taken."""
    candidates: int
    seen: Seen
    unreachable: int
    """Targets that are no candidates, or that the user had engaged with before: misses for everybody."""
    ks: tuple[int, ...]
    model: ModelScores | None
    baselines: tuple[ModelScores, ...]
    slices: tuple[SliceScores, ...]
    seconds: float
    seen_before: int = 0
    """Of the unreachable targets, those that the user had engaged with before, and that are left out for it."""
    differs: str = ""
    """In what the corpus that was measured differs from the one that is served; empty where in nothing."""
    evidence: Evidence | None = field(default=None, repr=False, compare=False)

    @property
    def metrics(self) -> dict[str, float]:
        """The model's metrics (empty where only baselines were measured)."""
        return dict(self.model.metrics) if self.model else {}

    def to_dict(self) -> dict[str, Any]:
        """Everything but the evidence, as JSON values."""
        values = asdict(replace(self, evidence=None))
        del values["evidence"]
        return {**values, "ks": list(self.ks)}

    def tables(self) -> list[Table]:
        """For people: model and baselines, then the slices."""
        every = [scores for scores in (self.model, *self.baselines) if scores is not None]
        seen = f"history {described_seen(self.seen)}"
        title = f"{self.split}: {self.targets:,} targets, {self.candidates:,} candidates, {seen}, exact"
        title = f"Not the corpus that is served: {self.differs}\n{title}" if self.differs else title
        note = unreachable_note(self.unreachable, self.seen_before)
        overall = _table(title, [""], [scores.name for scores in every], caption=note)
        for name in _rows(self.ks):
            overall.add_row(name, *(_cell(scores.metrics.get(name)) for scores in every))
        made = [overall]
        if self.slices:
            shown = [f"hr@{self.ks[0]}", f"ndcg@{self.ks[0]}", f"hr@{self.ks[-1]}", "mrr"]
            slices = _table("slices", ["", ""], ["targets", *dict.fromkeys(shown)])
            for row in self.slices:
                cells = (_cell(row.metrics.get(name)) for name in dict.fromkeys(shown))
                slices.add_row(row.column, row.value, f"{row.targets:,}", *cells)
            made.append(slices)
        return made


def unreachable_note(unreachable: int, seen_before: int) -> str | None:
    """Why targets can't be reached, and what to do about it; None where all can be.

    `seen_before` of them are left out because the user had engaged with the item before.
    """
    if not unreachable:
        return None
    reasons = []
    if seen_before:
        reasons.append(
            f"{seen_before:,} because the user had engaged with the item before and such items are left out "
            "(where people come back to the same items, set corpus.allow_seen = true, or corpus.seen_hours)"
        )
    if unreachable > seen_before:
        reasons.append(f"{unreachable - seen_before:,} because the item is not in the index then (see corpus.items)")
    return f"{unreachable:,} targets can't be reached: {'; '.join(reasons)}"


def _rows(ks: tuple[int, ...]) -> list[str]:
    ranked = [f"{metric}@{k}" for k in ks for metric in ("hr", "ndcg")]
    return [
        *ranked,
        "mrr",
        *(f"{metric}@{ks[0]}" for metric in ("stratified_hr", "coverage", "gini", "popularity_bias")),
    ]


def _table(title: str, labels: list[str], figures: list[str], caption: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", caption=caption, caption_justify="left")
    for column in labels:
        table.add_column(column)
    for column in figures:
        table.add_column(column, justify="right")
    return table


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
