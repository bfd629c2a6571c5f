"""Calibration: whether the model's own probabilities of what it recommends come true.

The model's probability of a candidate is softmax(score / T) over all that its user may be shown, T the temperature.
T targets, C candidates, B targets of a block, n observed targets, K best candidates of each, Q bins.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Figures, Scores
from retrieval.errors import DataError
from retrieval.evaluation.ranking import Scorer, Task, masked_scores

DEPTH = 50
_MOST_TARGETS = 20_000
_BINS = 12
_STEPS = 30
_COLDEST, _HOTTEST = 1e-3, 10.0
_Z = 1.96


@dataclass(frozen=True)
class Bin:
    """Recommendations of about one score, or of about one predicted probability."""

    pairs: int
    hits: int
    score: float
    """Mean score."""
    predicted: float
    """Mean probability that the model gives."""
    low: float
    """Bounds of the share of hits (Wilson 1927)."""
    high: float

    @property
    def observed(self) -> float:
        """Share of the pairs that were the target."""
        return self.hits / self.pairs


@dataclass(frozen=True)
class Calibration:
    """The K best candidates of each observed target against what the target was."""

    temperature: float
    targets: int
    depth: int
    by_score: tuple[Bin, ...]
    by_probability: tuple[Bin, ...]
    expected_error: float
    """Σ over the bins by probability of their share of pairs × |observed − predicted| (Naeini et al. 2015)."""
    relative_error: float
    """The same in proportion to the share of hits."""
    predicted_hit_rate: float
    """Mean of the model's own probability that the target is among the K best."""
    hit_rate: float
    """How often it is."""


@dataclass
class BestScores:
    """Keeps the best scores of evenly spaced targets while they are ranked; give it as `observe`."""

    temperature: float
    depth: int = DEPTH
    most_targets: int = _MOST_TARGETS
    _scores: list[Scores] = field(default_factory=list, init=False)
    _probabilities: list[Scores] = field(default_factory=list, init=False)
    _hits: list[npt.NDArray[np.bool_]] = field(default_factory=list, init=False)

    def __call__(self, task: Task, part: slice, scores: Scores) -> None:
        """Take up a block of scores float32 [B, C], −∞ where a candidate is not shown."""
        step = -(-len(task.targets) // self.most_targets)
        lines = np.flatnonzero(np.arange(part.start, part.stop) % step == 0)
        for line in lines:
            self._take(scores[line], int(task.column_of[task.histories.items[task.targets[part.start + line]]]))

    def calibration(self) -> Calibration | None:
        """What the scores seen so far amount to; None where no target had a candidate that it may be shown."""
        if not sum(map(len, self._scores)):
            return None
        scores, predicted = (np.concatenate(part).astype(np.float64) for part in (self._scores, self._probabilities))
        hits = np.concatenate(self._hits)
        targets = len(self._scores)
        by_probability = _bins(predicted, scores, predicted, hits)
        error = sum(each.pairs * abs(each.observed - each.predicted) for each in by_probability) / len(hits)
        return Calibration(
            temperature=self.temperature,
            targets=targets,
            depth=self.depth,
            by_score=_bins(scores, scores, predicted, hits),
            by_probability=by_probability,
            expected_error=error,
            relative_error=error / float(hits.mean()) if hits.any() else float("nan"),
            predicted_hit_rate=float(predicted.sum()) / targets,
            hit_rate=float(hits.sum()) / targets,
        )

    def _take(self, scores: Scores, own: int) -> None:
        shown = np.flatnonzero(np.isfinite(scores))
        finite = scores[shown]
        logits = finite.astype(np.float64) / self.temperature
        total = np.logaddexp.reduce(logits) if len(logits) else 0.0
        best = (
            np.argpartition(-finite, self.depth - 1)[: self.depth]
            if len(finite) > self.depth
            else np.arange(len(finite))
        )
        self._scores.append(finite[best])
        self._probabilities.append(np.exp(logits[best] - total).astype(np.float32))
        self._hits.append(shown[best] == own)


def fit_temperature(task: Task, scorer: Scorer) -> float:
    """The temperature T under which the targets are likeliest, mean log softmax(score / T), by Newton's method in 1/T.

    The scorer is asked for every target's scores several times over. Raises DataError where no target can be reached.
    """
    low, high = 1.0 / _HOTTEST, 1.0 / _COLDEST
    inverse = 10.0
    for _ in range(_STEPS):
        slope, curvature, targets = _likelihood(task, scorer, inverse)
        if not targets:
            raise DataError("evaluation: no target can be reached, so no temperature can be fitted")
        step = slope / curvature if curvature > 0 else np.sign(slope) * inverse
        # a step of a factor at most 3: far from the optimum the curvature says little
        moved = float(np.clip(inverse + step, max(low, inverse / 3), min(high, inverse * 3)))
        if abs(moved - inverse) <= 1e-5 * inverse:
            return 1.0 / moved
        inverse = moved
    return 1.0 / inverse


def mean_log_likelihood(task: Task, scorer: Scorer, temperature: float) -> float:
    """Mean log softmax(score / temperature) of the targets that can be reached; -inf where none can be."""
    total, targets = 0.0, 0
    for part, scores in masked_scores(task, scorer):
        columns = task.column_of[task.histories.items[task.targets[part]]]
        own = np.where(columns >= 0, scores[np.arange(len(columns)), columns], np.float32(-np.inf))
        reached = np.isfinite(own)
        logits = scores[reached].astype(np.float64) / temperature
        total += float((own[reached] / temperature - np.logaddexp.reduce(logits, axis=1)).sum())
        targets += int(reached.sum())
    return total / targets if targets else -np.inf


def _likelihood(task: Task, scorer: Scorer, inverse: float) -> tuple[float, float, int]:
    """Slope of Σ log softmax in 1/T, minus its second derivative, and how many targets it sums over."""
    slope, curvature, targets = 0.0, 0.0, 0
    for part, scores in masked_scores(task, scorer):
        columns = task.column_of[task.histories.items[task.targets[part]]]
        for line in np.flatnonzero(columns >= 0):
            own = float(scores[line, columns[line]])
            finite = scores[line][np.isfinite(scores[line])].astype(np.float64)
            if not np.isfinite(own):
                continue
            weights = np.exp((finite - finite.max()) * inverse)
            weights /= weights.sum()
            mean = float(weights @ finite)
            slope += own - mean
            curvature += float(weights @ (finite - mean) ** 2)
            targets += 1
    return slope, curvature, targets


def _bins(by: Figures, scores: Figures, predicted: Figures, hits: npt.NDArray[np.bool_]) -> tuple[Bin, ...]:
    """Pairs [n K] in the order of `by`, cut so that about as many hits are expected in each bin."""
    order = np.argsort(by, kind="stable")
    expected = np.cumsum(predicted[order])
    cuts = np.searchsorted(expected, expected[-1] * np.arange(1, _BINS) / _BINS)
    parts = np.split(order, np.unique(cuts))
    return tuple(_bin(scores[part], predicted[part], hits[part]) for part in parts if len(part))


def _bin(scores: Figures, predicted: Figures, hits: npt.NDArray[np.bool_]) -> Bin:
    pairs, found = len(hits), int(hits.sum())
    low, high = wilson(found, pairs)
    return Bin(pairs, found, float(scores.mean()), float(predicted.mean()), low, high)


def wilson(hits: int, pairs: int) -> tuple[float, float]:
    """95 % bounds of a share (Wilson 1927)."""
    share, squared = hits / pairs, _Z * _Z / pairs
    centre = (share + squared / 2) / (1 + squared)
    half = _Z / (1 + squared) * np.sqrt(share * (1 - share) / pairs + squared / (4 * pairs))
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))
