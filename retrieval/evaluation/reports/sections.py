"""From findings to a page: what stands in it, in what order, in which words."""

from __future__ import annotations

from math import isfinite

import numpy as np

from retrieval.evaluation.bootstrap import RESAMPLES
from retrieval.evaluation.certainty import LEAST_USERS, Comparison, unreachable
from retrieval.evaluation.exposure import DECILES, decile_shares, lorenz_curve, popularity_deciles
from retrieval.evaluation.neighbours import Item
from retrieval.evaluation.reports import plots
from retrieval.evaluation.reports.findings import Findings, ItemLabels, slice_metrics
from retrieval.evaluation.reports.page import Block, Cell, Figure, Page, Section, Table, Text
from retrieval.evaluation.reports.served import served_blocks
from retrieval.evaluation.reports.words import (
    bounds,
    figure,
    metric_name,
    p_text,
    shortened,
    signed,
)

_MOST_BARS = 60
_FEW_USERS = 30


def make_page(findings: Findings) -> Page:
    """The whole report. Raises nothing of its own."""
    sections = (
        Section("In short", tuple(_summary(findings))),
        Section("What was measured", (Table(("", ""), findings.facts, labels=2),)),
        Section("Metrics", tuple(_metrics(findings))),
        *([Section("Comparisons", tuple(_comparisons(findings)))] if findings.comparisons else []),
        *([Section("Served", tuple(served_blocks(findings.served)))] if findings.served else []),
        Section("Slices", tuple(_slices(findings))),
        Section("Exposure and popularity", tuple(_exposure(findings))),
        *([Section("Calibration", tuple(_calibration(findings)))] if findings.temperature else []),
        *([Section("Lists", tuple(_lists(findings, findings.labels)))] if findings.labels and findings.lists else []),
        *([Section("Neighbours", tuple(_neighbours(findings, findings.labels)))] if findings.labels else []),
        Section("Ranks", tuple(_ranks(findings))),
    )
    return Page(f"Evaluation of {findings.scores[0].name}", sections)


def _summary(findings: Findings) -> list[Block]:
    report, model = findings.report, findings.scores[0]
    names = [f"hr@{report.ks[0]}", f"ndcg@{report.ks[0]}"]
    figures = ", ".join(
        f"{metric_name(name)} {figure(model.metrics[name])} {bounds(findings.intervals[model.name][name])}"
        for name in names
    )
    blocks: list[Block] = [Text(f"{model.name} on {report.targets:,} targets: {figures}.", "finding")]
    blocks += [Text(sentence, "finding") for sentence in findings.sentences()]
    if not findings.comparisons:
        blocks.append(Text("No baseline was measured beside it: evaluation.baselines is empty."))
    return [*blocks, *(Text(warning, "remark") for warning in findings.warnings)]


def _metrics(findings: Findings) -> list[Block]:
    ks = findings.report.ks
    names = [f"{metric}@{k}" for k in ks for metric in ("hr", "ndcg")] + ["mrr"]
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            metric_name(name),
            *((figure(one.metrics[name]), bounds(findings.intervals[one.name][name])) for one in findings.scores),
        )
        for name in names
    )
    blocks: list[Block] = []
    if findings.curves is not None:
        values = {
            one.name: {name: (one.metrics[name], findings.intervals[one.name][name]) for name in names}
            for one in findings.scores
        }
        png = plots.metrics_plot(findings.curves, values)
        alt = f"HR@k over k, and all metrics, of {', '.join(values)}, with 95 % intervals"
        blocks.append(Figure("metrics", png, alt))
    users = len(np.unique(findings.evidence.users))
    blocks.append(Table(("", *(one.name for one in findings.scores)), rows))
    return [
        *blocks,
        Text(
            f"In brackets: 95 % bootstrap intervals, from {RESAMPLES:,} resamples of the {users:,} users, each with "
            "all of its targets. They say how far the figures would move with other users, not "
            "with another training seed.",
            "remark",
        ),
    ]


def _comparisons(findings: Findings) -> list[Block]:
    png = plots.comparison_plot(findings.comparisons)
    alt = "Differences of every metric with 95 % intervals: " + "; ".join(_pair(one) for one in findings.comparisons)
    blocks: list[Block] = [Figure("comparisons", png, alt, "Grey: can't be told from 0.")]
    for one in findings.comparisons:
        rows = tuple(
            (metric_name(name), signed(found.value), bounds(found.interval), p_text(found.p, RESAMPLES))
            for name, found in one.differences.items()
        )
        shares = f"ranks {one.won:.1%} of the targets higher, {one.lost:.1%} lower, {one.tied:.1%} alike"
        blocks += [
            Text(f"{_pair(one)}: {one.model} {shares}."),
            Table(("", "difference", "95 % interval", "p, two-sided"), rows),
        ]
    count = sum(len(one.differences) for one in findings.comparisons)
    return [
        *blocks,
        Text(
            "Paired: both are measured on the same targets and the same resamples of users. The baseline is the one "
            f"with the best HR@{findings.report.ks[0]}. p is not corrected for the {count} differences shown; about "
            "one in twenty of no difference falls under .05.",
            "remark",
        ),
        Text(
            "What is compared are these versions as they are. Settings are another question: the same ones trained "
            "with another seed give other figures too, and often differ by more than the choice of users explains.",
            "remark",
        ),
    ]


def _slices(findings: Findings) -> list[Block]:
    report, evidence = findings.report, findings.evidence
    names = slice_metrics(report.ks)
    shown = list(zip(report.slices, findings.slices, evidence.slices, strict=True))
    rows: list[tuple[Cell, ...]] = []
    bars = []
    for scores, intervals, each in shown:
        users = len(np.unique(evidence.users[each.members]))
        cells = [(figure(scores.metrics[name]), bounds(intervals[name])) for name in names]
        rows.append((scores.column, scores.value, f"{scores.targets:,}", f"{users:,}", *cells))
        bars.append((scores.column, scores.value, scores.metrics[names[0]], intervals[names[0]]))
    drawn = [bar for bar in bars if isfinite(bar[3].low)]
    short = len(bars) - min(len(drawn), _MOST_BARS)
    left_out = (
        f"{short} more slices, small ones or after the first {_MOST_BARS}, are in the table only." if short else ""
    )
    alt = f"{metric_name(names[0])} by slice with 95 % intervals; figures in the table"
    blocks: list[Block] = []
    if drawn:
        png = plots.slices_plot(drawn[:_MOST_BARS], report.metrics[names[0]], names[0])
        blocks.append(Figure("slices", png, alt, left_out))
    note = f"Slices of fewer than {LEAST_USERS} users have no interval; under {_FEW_USERS} users it is rough."
    columns = ("", "", "targets", "users", *map(metric_name, names))
    return [*blocks, Table(columns, tuple(rows), labels=2), Text(note, "remark")]


def _exposure(findings: Findings) -> list[Block]:
    evidence, k = findings.evidence, findings.report.ks[0]
    deciles = popularity_deciles(evidence.counts)
    shown = {name: ranking.shown[k] for name, ranking in evidence.rankings.items()}
    shares = {name: decile_shares(amounts, deciles) for name, amounts in shown.items()}
    target_shares = decile_shares(findings.evidence.target_counts, deciles)
    png = plots.exposure_plot(
        {name: lorenz_curve(amounts) for name, amounts in shown.items()}, shares, target_shares, k
    )
    alt = f"Lorenz curves of exposure in lists of {k}, and shares of recommendations and targets by popularity decile"
    names = [f"{kind}@{each}" for kind in ("coverage", "gini", "popularity_bias") for each in findings.report.ks]
    spread = tuple((metric_name(name), *(figure(one.metrics[name]) for one in findings.scores)) for name in names)
    held = np.bincount(deciles, minlength=DECILES)
    tenths = tuple(
        (
            str(place + 1),
            f"{held[place]:,}",
            f"{target_shares[place]:.1%}",
            *(f"{share[place]:.1%}" for share in shares.values()),
        )
        for place in reversed(range(DECILES))
    )
    return [
        Figure("exposure", png, alt),
        Table(("", *(one.name for one in findings.scores)), spread),
        Text(
            "Coverage: share of the candidates that stand in any list. Gini: 0 where all are shown alike, near 1 where "
            "everybody is shown the same few. Popularity bias: mean popularity percentile of what is shown; .5 is "
            "blind to popularity.",
            "remark",
        ),
        Table(("decile", "items", "targets", *shares), tenths),
        Text(
            "Deciles of the candidates by their training events, 10 the most popular; items of equal count stay "
            f"together. A model that shows what users want, in lists of {k}, would stand near the "
            "column of the targets.",
            "remark",
        ),
    ]


def _calibration(findings: Findings) -> list[Block]:
    found = findings.calibration
    if found is None:
        return [Text(f"Not measured. {findings.temperature}")]
    caption = f"{found.targets:,} targets, their {found.depth} best candidates each; bins of equal expected hits."
    alt = "Share of candidates that were the target by score and by predicted probability; figures in the table"
    rows = tuple(
        (
            f"{each.score:.3f}",
            f"{each.pairs:,}",
            f"{each.hits:,}",
            f"{each.predicted:.5f}",
            f"{each.observed:.5f}",
            f"[{each.low:.5f}, {each.high:.5f}]",
        )
        for each in reversed(found.by_score)
    )
    ratio = found.predicted_hit_rate / found.hit_rate if found.hit_rate else float("nan")
    tendency = "too sure" if ratio > 1.1 else "too modest" if ratio < 1 / 1.1 else "about right"
    return [
        Text(
            f"The softmax expects the target among the {found.depth} best in {found.predicted_hit_rate:.1%} of the "
            f"cases; it is there in {found.hit_rate:.1%}: the model is {tendency}. Expected calibration error of a "
            f"candidate's probability: {found.expected_error:.5f}, that is {found.relative_error:.0%} of the mean "
            "share of hits.",
            "finding",
        ),
        Text(findings.temperature),
        Figure("calibration", plots.calibration_plot(found), alt, caption),
        Table(("mean score", "candidates", "hits", "predicted", "observed", "95 % interval"), rows, labels=0),
        Text(
            "Predicted: softmax(cosine / temperature) over all candidates that the user may be shown. Ranking does not "
            "need it to be right; thresholds on scores, and blending with other generators, do.",
            "remark",
        ),
    ]


def _lists(findings: Findings, labels: ItemLabels) -> list[Block]:
    rows = tuple(
        (
            tuple(_named(labels, row) for row in one.seen) or "nothing",
            tuple(f"{place}.  {_named(labels, row)}" for place, row in enumerate(one.shown, start=1)) or "nothing",
            _named(labels, one.target),
            f"place {one.shown.index(one.target) + 1}" if one.target in one.shown else "not among them",
        )
        for one in findings.lists
    )
    note = "What users of evenly spaced targets would have been shown just before them; the newest event first."
    return [Table(("what the user did last", "what is shown", "what came", ""), rows, labels=4), Text(note, "remark")]


def _neighbours(findings: Findings, labels: ItemLabels | None) -> list[Block]:
    assert labels is not None
    rows = tuple(
        (
            _label(labels, one.item),
            one.why,
            tuple(f"{cosine:.2f}  {_label(labels, item)}" for item, cosine in one.nearest) or "none",
        )
        for one in findings.neighbourhoods
    )
    source = f"names: the items' column {labels.column!r}" if labels.column else "the items have no column of names"
    note = f"Nearest candidates by cosine of the item tower's vectors, in brackets their training events; {source}."
    return [Table(("item", "", "nearest, with cosine"), rows, labels=3), Text(note, "remark")]


def _ranks(findings: Findings) -> list[Block]:
    report, name = findings.report, findings.scores[0].name
    ranks = findings.evidence.rankings[name].ranks
    lost = unreachable(ranks)
    alt = "Histogram of the targets' ranks; the quantiles stand below"
    if lost == len(ranks):
        return [Text("No target can be reached.", "finding")]
    middle = np.quantile(ranks[ranks < report.candidates] + 1, [0.1, 0.25, 0.5, 0.75, 0.9]).astype(int)
    return [
        Figure("ranks", plots.ranks_plot(ranks, report.candidates, report.ks), alt),
        Table(
            ("rank at the quantile", "10 %", "25 %", "50 %", "75 %", "90 %"),
            (("targets that can be reached", *(f"{rank:,}" for rank in middle)),),
        ),
        Text(
            f"{lost:,} of {len(ranks):,} targets can't be reached: they are no candidates, or their users had engaged "
            "with them before. They are misses at every k, for the baselines too.",
            "plain" if lost else "remark",
        ),
    ]


def _pair(one: Comparison) -> str:
    return f"{one.model} against {one.other}"


def _label(labels: ItemLabels, item: Item) -> str:
    return f"{_named(labels, item.row)} ({item.count:,})"


def _named(labels: ItemLabels, row: int) -> str:
    name = labels.names.get(row)
    return f"{shortened(name, 70)} · {labels.ids[row]}" if name else labels.ids[row]
