"""The plots of a report, each from plain findings to a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from retrieval.arrays import Figures, Ints
from retrieval.evaluation.bootstrap import Interval
from retrieval.evaluation.calibration import Bin, Calibration
from retrieval.evaluation.certainty import Comparison, Curve
from retrieval.evaluation.exposure import DECILES
from retrieval.evaluation.metrics import UNREACHABLE
from retrieval.evaluation.reports.canvas import INK, LINE, MODEL, SOFT, canvas, colours
from retrieval.evaluation.reports.words import metric_name, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_WIDE = 9.6


def metrics_plot(curves: Mapping[str, Curve], values: Mapping[str, Mapping[str, tuple[float, Interval]]]) -> bytes:
    """HR@k over k with bands, and every metric with its error bars."""
    shades = colours(list(curves))
    with canvas(_WIDE, 4.0, 2, (1.15, 1)) as drawn:
        left, right = drawn.axes
        for name, curve in curves.items():
            first = name == next(iter(curves))
            left.fill_between(curve.ks, curve.low, curve.high, color=shades[name], alpha=0.18, linewidth=0)
            left.plot(curve.ks, curve.values, color=shades[name], label=name, linewidth=2.2 if first else 1.4)
        left.set(xscale="log", xlabel="k, length of the list", ylabel="share of targets in it", ylim=(0, None))
        left.set_title("HR@k, with 95 % bands")
        _plain_numbers(left.xaxis)
        left.legend(loc="upper left")
        names = list(next(iter(values.values())))
        for place, (model, figures) in enumerate(values.items()):
            offset = (place - (len(values) - 1) / 2) * min(0.18, 0.8 / len(values))
            at = np.arange(len(names)) + offset
            means = np.array([figures[name][0] for name in names])
            bounds = np.array([figures[name][1] for name in names])
            right.hlines(at, bounds[:, 0], bounds[:, 1], color=shades[model], linewidth=2)
            right.plot(means, at, "o", color=shades[model], markersize=4.5)
        right.set_yticks(range(len(names)), [metric_name(name) for name in names])
        right.set(xlim=(0, None), title="all metrics, with 95 % intervals")
        right.invert_yaxis()
        right.grid(visible=False, axis="y")
    return drawn.png


def comparison_plot(comparisons: Sequence[Comparison]) -> bytes:
    """Each difference with its interval, a panel for each comparison."""
    rows = max(len(one.differences) for one in comparisons)
    with canvas(_WIDE, 1.1 + 0.3 * rows, len(comparisons)) as drawn:
        for axes, one in zip(drawn.axes, comparisons, strict=True):
            for place, found in enumerate(one.differences.values()):
                certain = found.p < 0.05
                shade = (MODEL if found.value > 0 else "#c0504d") if certain else "#8f97a6"
                axes.hlines(place, *found.interval, color=shade, linewidth=2.4)
                axes.plot(found.value, place, "o", color=shade, markersize=5.5)
            axes.axvline(0, color=INK, linewidth=1)
            axes.set_yticks(range(len(one.differences)), [metric_name(name) for name in one.differences])
            axes.invert_yaxis()
            axes.margins(x=0.12)
            axes.set(title=f"{one.model} minus {shortened(one.other)}")
            axes.grid(visible=False, axis="y")
    return drawn.png


def slices_plot(rows: Sequence[tuple[str, str, float, Interval]], overall: float, metric: str) -> bytes:
    """One metric by slice (column, value, mean, bounds) with error bars, beside the overall figure."""
    with canvas(_WIDE, 1.0 + 0.27 * len(rows)) as drawn:
        axes = drawn.axes[0]
        at = np.arange(len(rows))
        means = np.array([row[2] for row in rows])
        bounds = np.array([row[3] for row in rows])
        starts = [place for place, row in enumerate(rows) if place and row[0] != rows[place - 1][0]]
        axes.barh(at, means, color="#a9c5ee", height=0.68)
        axes.hlines(at, bounds[:, 0], bounds[:, 1], color=INK, linewidth=1.3)
        axes.axvline(overall, color=MODEL, linewidth=1.2, linestyle="--", label=f"all targets: {overall:.3f}")
        for place in starts:
            axes.axhline(place - 0.5, color=LINE, linewidth=1)
        axes.set_yticks(at, [f"{shortened(row[0], 24)}: {shortened(row[1], 36)}" for row in rows])
        axes.set(
            xlim=(0, None), ylim=(len(rows) - 0.5, -0.5), title=f"{metric_name(metric)} by slice, with 95 % intervals"
        )
        axes.grid(visible=False, axis="y")
        axes.legend(loc="lower right")
    return drawn.png


def exposure_plot(
    curves: Mapping[str, tuple[Figures, Figures]], shares: Mapping[str, Figures], targets: Figures, k: int
) -> bytes:
    """Lorenz curves of who is shown, and shares by popularity decile beside those of the targets."""
    shades = colours(list(curves))
    with canvas(_WIDE, 3.9, 2) as drawn:
        left, right = drawn.axes
        for name, (items, shown) in curves.items():
            left.plot(items, shown, color=shades[name], label=name)
        left.set(
            xlabel="share of items, least shown first", ylabel="share of recommendations", xlim=(0, 1), ylim=(0, 1)
        )
        left.plot([0, 1], [0, 1], color="#b9c1cf", linewidth=1, linestyle="--", label="all shown alike")
        left.set_title(f"how exposure is shared, lists of {k}")
        left.legend(loc="upper left")
        at = np.arange(1, DECILES + 1)
        right.bar(at, targets, color="#ccd3df", width=0.8, label="targets")
        for name, share in shares.items():
            right.plot(at, share, "o-", color=shades[name], markersize=4, label=name)
        right.set_xticks(at)
        right.set(xlabel="decile of training popularity (10: most popular)", ylim=(0, None))
        right.set_ylabel("share of recommendations, of targets")
        right.set_title(f"how popular it is, lists of {k}")
        right.legend(loc="upper left")
    return drawn.png


def calibration_plot(found: Calibration) -> bytes:
    """Hit frequency by score beside what the softmax predicts, and predicted against observed probability."""
    with canvas(_WIDE, 3.9, 2) as drawn:
        left, right = drawn.axes
        scores = [each.score for each in found.by_score]
        predicted = [each.predicted for each in found.by_score]
        left.plot(
            scores,
            predicted,
            color="#d9822b",
            linewidth=2,
            label=f"predicted: softmax(cosine / {found.temperature:.4g})",
        )
        _observed(left, scores, found.by_score)
        left.set(xlabel="score (cosine)", ylabel="share that was the target", yscale="log")
        left.set_title(f"the {found.depth} best candidates, by score")
        left.legend(loc="lower right")
        predicted = [each.predicted for each in found.by_probability]
        _observed(right, predicted, found.by_probability)
        ends = [min(predicted), max(predicted)]
        right.plot(ends, ends, color="#d9822b", linewidth=1.2, linestyle="--", label="perfectly calibrated")
        right.set(xlabel="predicted probability", ylabel="share that was the target", xscale="log", yscale="log")
        right.set_title("by predicted probability")
        right.legend(loc="lower right")
        _plain_numbers(left.yaxis, right.xaxis, right.yaxis)
    return drawn.png


def ranks_plot(ranks: Ints, candidates: int, ks: Sequence[int]) -> bytes:
    """How many targets stand at which rank, ranks and counts on log scales, the unreachable ones apart."""
    reached = ranks[ranks < UNREACHABLE] + 1
    edges = np.unique(np.geomspace(1, candidates + 1, 41).round())
    counts, _ = np.histogram(reached, edges)
    lost = len(ranks) - len(reached)
    with canvas(_WIDE, 3.3) as drawn:
        axes = drawn.axes[0]
        axes.stairs(counts, edges, fill=True, color="#a9c5ee", edgecolor=MODEL, linewidth=1, label="targets")
        for k in ks:
            axes.axvline(k + 1, color=SOFT, linewidth=1, linestyle=":")
            axes.annotate(
                f"k = {k}",
                (k + 1, 1),
                (3, -2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                color=SOFT,
                fontsize=8.5,
                va="top",
            )
        if lost:
            axes.bar(
                [candidates * 1.6], [lost], width=candidates * 0.6, color="#8f97a6", label=f"can't be reached: {lost:,}"
            )
            axes.legend(loc="upper right")
        axes.set(xscale="log", yscale="log", xlabel="rank of the target", ylabel="targets in the bin", ylim=(0.7, None))
        axes.set_title("ranks of the targets, in bins that widen with the rank")
        _plain_numbers(axes.xaxis, axes.yaxis)
    return drawn.png


def _plain_numbers(*scales: Axis) -> None:
    """100 and .001 in place of powers on log scales, labels on a few of the steps between where there is room."""
    from matplotlib.ticker import LogLocator, NullFormatter

    for scale in scales:
        scale.set_major_locator(LogLocator(10, (1.0, 3.0), numticks=12))
        scale.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
        scale.set_minor_formatter(NullFormatter())


def _observed(axes: Axes, at: Sequence[float], bins: Sequence[Bin]) -> None:
    # a bin without a hit has no place on a log scale, but its upper bound has
    floor = min((each.low for each in bins if each.low > 0), default=1e-6) / 2
    axes.vlines(at, [max(each.low, floor) for each in bins], [each.high for each in bins], color=MODEL, linewidth=1.6)
    hit = [(place, each.observed) for place, each in zip(at, bins, strict=True) if each.hits]
    axes.plot(
        [place for place, _ in hit],
        [share for _, share in hit],
        "o",
        color=MODEL,
        markersize=5,
        label="observed, with 95 % intervals",
    )
