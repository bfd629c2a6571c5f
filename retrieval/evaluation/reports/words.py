"""Figures and findings in words."""

from __future__ import annotations

from math import isfinite

from retrieval.evaluation.bootstrap import Difference, Interval
from retrieval.evaluation.certainty import Comparison

SIGNIFICANT = 0.05
_NAMES = {
    "hr": "HR",
    "ndcg": "NDCG",
    "mrr": "MRR",
    "stratified_hr": "stratified HR",
    "coverage": "coverage",
    "gini": "Gini",
}


def metric_name(name: str) -> str:
    """HR@10 from hr@10."""
    kind, at, k = name.partition("@")
    return _NAMES.get(kind, kind.replace("_", " ")) + at + k


def shortened(text: str, most: int = 28) -> str:
    """The text, cut to `most` signs."""
    return text if len(text) <= most else text[: most - 1] + "…"


def figure(value: float) -> str:
    """Four places; a dash where there is no figure."""
    return f"{value:.4f}" if isfinite(value) else "–"


def signed(value: float) -> str:
    """Four places with its sign."""
    return f"{value:+.4f}"


def bounds(interval: Interval) -> str:
    """[low, high]; words where there are too few users for any."""
    if not isfinite(interval.low):
        return "too few users"
    return f"[{figure(interval.low)}, {figure(interval.high)}]"


def p_text(p: float, resamples: int) -> str:
    """p to three places; "under …" where it is the least that so many resamples can show."""
    least = 2.0 / (resamples + 1)
    return f"< {least:.1g}" if p <= least * 1.0001 else f"{p:.3f}"


def verdict(comparison: Comparison, metric: str, resamples: int) -> str:
    """Whether a difference can be told from noise, in one or two sentences."""
    found = comparison.differences[metric]
    name = metric_name(metric)
    figures = (
        f"{signed(found.value)}, 95 % interval {signed(found.interval.low)} to {signed(found.interval.high)}, "
        f"p {_equals(p_text(found.p, resamples))}"
    )
    if found.value == 0 and found.interval.low == found.interval.high == 0:
        return f"{comparison.model} and {comparison.other} have the same {name}, target by target."
    if found.p >= SIGNIFICANT:
        return (
            f"{name} of {comparison.model} and {comparison.other} can't be told apart: their difference ({figures}) is "
            "within what the choice of users explains."
        )
    better = "better" if found.value > 0 else "worse"
    return (
        f"{comparison.model} is {better} than {comparison.other} in {name}, by more than the choice of users explains: "
        f"{figures}."
    )


def mixed(comparison: Comparison) -> str | None:
    """A remark where metrics that can be told from noise point different ways; None where they agree."""
    certain = {name: one for name, one in comparison.differences.items() if one.p < SIGNIFICANT}
    up, down = (_list(certain, sign) for sign in (1, -1))
    if not up or not down:
        return None
    return f"The metrics disagree: {comparison.model} is better in {', '.join(up)}, worse in {', '.join(down)}."


def _list(differences: dict[str, Difference], sign: int) -> list[str]:
    return [metric_name(name) for name, one in differences.items() if one.value * sign > 0]


def _equals(text: str) -> str:
    return text if text.startswith("<") else f"= {text}"
