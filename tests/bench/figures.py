"""The pictures of README and docs, drawn from the reports that the benches wrote.

    python -m tests.bench.figures --results tests/bench/results --out docs/images

`quality.png`: ours against published figures and live baselines. `ablation.png`: what each choice is worth.
`ann.png`: ANN engines' queries/s at every recall.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.bench.ann.summary import frontier
from tests.bench.report import Row

_HERE = Path(__file__).resolve().parent
_OURS, _OTHERS, _SIMPLE, _WORSE = "#1f6feb", "#9aa4b2", "#d0d7de", "#c2410c"
_LEAST_RECALL = 0.9
_BASELINES = {
    "popularity_hour_at_cut": "popularity, last hour before the cut",
    "popularity_day_at_cut": "popularity, last day before the cut",
    "covisitation": "co-visitation, up to the cut",
    "popularity_last_5_minutes": "popularity, last 5 minutes before the request",
    "popularity_last_10_minutes": "popularity, last 10 minutes before the request",
    "popularity_last_15_minutes": "popularity, last 15 minutes before the request",
    "popularity_last_30_minutes": "popularity, last 30 minutes before the request",
    "popularity_last_hour": "popularity, last hour before the request",
    "popularity_last_day": "popularity, last day before the request",
    "live_covisitation": "co-visitation, up to the request",
    "live_covisitation_and_popularity": "co-visitation + popularity, up to the request",
    "repurchase": "own past purchases + co-visitation",
    "recent_popularity": "popularity, last week",
}
"""As the data sets' protocols name them → as people read them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw what there are results for."""
    parser = argparse.ArgumentParser(description="The pictures of README and docs")
    parser.add_argument("--results", type=Path, default=_HERE / "results", help="folder of the benches' JSON reports")
    parser.add_argument("--out", type=Path, default=_HERE.parents[1] / "docs" / "images")
    given = parser.parse_args(arguments)
    if not given.results.is_dir():
        raise SystemExit(f"{given.results}: no such folder; the benches write their reports with --json")
    given.out.mkdir(parents=True, exist_ok=True)
    plt.rcParams.update({"font.size": 8.5, "axes.spines.top": False, "axes.spines.right": False})
    draw_quality(given.results, given.out / "quality.png")
    draw_ablation(given.results, given.out / "ablation.png")
    draw_ann(given.results, given.out / "ann.png")


def draw_quality(results: Path, path: Path) -> None:
    """One panel per data set and track, best at the bottom: ours, what others published, the baselines."""
    titles = {
        "ml1m-no-time": "MovieLens-1M, no time input",
        "ml1m-time": "MovieLens-1M, with time",
        "amazon_beauty": "Amazon Beauty",
        "globo": "Globo news, next 6 hours, mean of three cuts",
        "online-retail": "Online Retail, next two weeks",
    }
    found = {title: rows for name, title in titles.items() if (rows := read(results / f"{name}.json"))}
    if not found:
        return
    lines = [_quality_lines(rows) for rows in found.values()]
    heights = [len(one) for one in lines]
    figure, panels = plt.subplots(
        len(found), 1, figsize=(8, 0.8 * len(found) + 0.24 * sum(heights)), height_ratios=heights, squeeze=False
    )
    for panel, title, every in zip(panels[:, 0], found, lines, strict=True):
        _bars(panel, every)
        panel.set_title(f"{title}: HR@10", loc="left", fontweight="bold")
    _save(figure, path)


def draw_ablation(results: Path, path: Path) -> None:
    """Change of NDCG@10 against the recipe as it is shipped, row by row."""
    titles = {"ablation-ml1m": "MovieLens-1M", "ablation-globo": "Globo"}
    found = {title: rows for name, title in titles.items() if (rows := read(results / f"{name}.json"))}
    if not found:
        return
    most = max(map(len, found.values()))
    figure, panels = plt.subplots(1, len(found), figsize=(5.4 * len(found), 0.9 + 0.21 * most), squeeze=False)
    for panel, (title, rows) in zip(panels[0], found.items(), strict=True):
        _changes(panel, rows)
        panel.set_title(f"{title}: change of NDCG@10", loc="left", fontweight="bold")
    _save(figure, path)


def draw_ann(results: Path, path: Path) -> None:
    """One panel per k: recall against queries/s of every engine, one thread; up and to the right is better."""
    rows = [row for row in read(results / "ann-200k.json") if row["kind"] == "sweep" and not row["filter"]]
    if not rows:
        return
    ks = sorted({row["k"] for row in rows})
    engines = sorted({(row["engine"], row["settings"]) for row in rows}, key=lambda one: one[0] != "native")
    figure, panels = plt.subplots(1, len(ks), figsize=(4.6 * len(ks), 4.4), squeeze=False)
    for panel, k in zip(panels[0], ks, strict=True):
        _curves(panel, [row for row in rows if row["k"] == k], engines)
        panel.set_title(f"{rows[0]['data']}, k = {k}: queries/s, one thread", loc="left", fontweight="bold")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.set_layout_engine("constrained")
    _save(figure, path)


def read(path: Path) -> list[Row]:
    """The rows of a report; none, and a word about it, where it isn't there."""
    if not path.is_file():
        sys.stderr.write(f"{path}: not there, left out\n")
        return []
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))["results"]
    return [row for row in rows if "failed" not in row]


_Bar = tuple[str, float, float, str]
"""Label, value, deviation over the seeds (0: none known), colour."""


def _quality_lines(rows: list[Row]) -> list[_Bar]:
    seeds = [row for row in rows if row["kind"] == "model"]
    values = [row["HR@10"] for row in seeds]
    count = len({row["seed"] for row in seeds})
    bars: list[_Bar] = [(f"retrieval, {count} seeds", statistics.fmean(values), _spread(seeds), _OURS)]
    bars += [(row["recipe"], row["HR@10"], 0.0, _OTHERS) for row in rows if row["kind"] == "published"]
    of: dict[str, list[float]] = {}
    for row in rows:
        if row["kind"] == "baseline":
            name: str = row["baseline"]
            plain = {"covisitation": "co-visitation"} if "cut" not in row else {}
            label = (_BASELINES | plain).get(name, name)
            of.setdefault(label, []).append(row["HR@10"])
    known = {label for label, *_ in bars}
    bars += [(label, statistics.fmean(of[label]), 0.0, _SIMPLE) for label in of if label not in known]
    return sorted(bars, key=lambda bar: -bar[1])


def _spread(seeds: list[Row]) -> float:
    """Standard deviation over the seeds: of each cut's own, where there are several cuts."""
    cuts: dict[str, list[float]] = {}
    for row in seeds:
        cuts.setdefault(row.get("cut", ""), []).append(row["HR@10"])
    spreads = [statistics.variance(values) for values in cuts.values() if len(values) > 1]
    return float(statistics.fmean(spreads) ** 0.5) if spreads else 0.0


def _bars(panel: Axes, bars: list[_Bar]) -> None:
    labels, values, spreads, colours = zip(*bars, strict=True)
    places = range(len(bars))
    panel.barh(places, values, xerr=[s or float("nan") for s in spreads], color=colours, height=0.72)
    panel.set_yticks(places, labels)
    panel.invert_yaxis()
    for place, value in zip(places, values, strict=True):
        panel.annotate(f"{value:.3f}", (0, place), (4, 0), textcoords="offset points", va="center")
    panel.xaxis.set_visible(False)
    panel.spines["bottom"].set_visible(False)


def _changes(panel: Axes, rows: list[Row]) -> None:
    base = rows[0]["NDCG@10"]
    changes = [100.0 * (row["NDCG@10"] / base - 1.0) for row in rows]
    places = range(len(rows))
    panel.barh(places, changes, color=[_OURS if change >= 0 else _WORSE for change in changes], height=0.72)
    panel.set_yticks(places, [row["row"] for row in rows])
    panel.invert_yaxis()
    panel.axvline(0.0, color="black", linewidth=0.6)
    for place, change in zip(places, changes, strict=True):
        side = -1 if change < 0 else 1
        aligned = "right" if change < 0 else "left"
        panel.annotate(
            f"{change:+.1f} %", (change, place), (3 * side, 0), textcoords="offset points", va="center", ha=aligned
        )
    room = 0.2 * (max(*changes, 0.0) - min(*changes, 0.0)) + 1.0  # for the labels
    panel.set_xlim(min(*changes, 0.0) - room, max(*changes, 0.0) + room)
    panel.spines["left"].set_visible(False)
    panel.xaxis.set_visible(False)
    panel.spines["bottom"].set_visible(False)


def _curves(panel: Axes, rows: list[Row], engines: list[tuple[str, str]]) -> None:
    for number, (engine, settings) in enumerate(engines):
        points = frontier([row for row in rows if (row["engine"], row["settings"]) == (engine, settings)], "qps")
        shown = [point for point in points if point[0] >= _LEAST_RECALL] or points[-1:]
        ours = engine == "native"
        colour = _OURS if ours else mpl.colormaps["tab20"](number % 20)
        style = {"linewidth": 2.4 if ours else 1.1, "marker": "o", "markersize": 3.0, "zorder": 3 if ours else 2}
        panel.plot(*zip(*shown, strict=True), label=f"{engine}, {settings}", color=colour, **style)
    panel.set_yscale("log")
    panel.set_xlim(_LEAST_RECALL, 1.002)
    panel.set_xlabel(f"recall@{rows[0]['k']}")
    panel.grid(alpha=0.25)


def _save(figure: Figure, path: Path) -> None:
    if figure.get_layout_engine() is None:
        figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
    sys.stderr.write(f"{path}\n")


if __name__ == "__main__":
    main()
