"""What the demo's client saw: one record per request, and the figures drawn from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class Served:
    """A model version that took part in an answer, and the builds it was searched in (`demo@1`, `demo-b1`)."""

    version: str
    builds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """One request and what came back. Times in seconds since the client started; `error` is set where it failed.

    `served_by` holds for each item its position in `served`; more than one version serves only a merge by rank.
    """

    started: float
    latency_ms: float
    user_id: str
    at_us: int
    served: tuple[Served, ...] = ()
    served_by: tuple[int, ...] = ()
    item_ids: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    error: str = ""

    @property
    def label(self) -> str:
        """What the answer counts as: its version, `demo@1+demo@2` for a merge by rank, or `failed`."""
        return "failed" if self.error else "+".join(served.version for served in self.served)


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened while the client went on asking, such as the start of a roll-out."""

    at: float
    what: str


def latency_ms(answers: Sequence[Answer]) -> dict[str, float]:
    """Median and 99th percentile of the latency of the requests that were answered, in milliseconds."""
    times = [answer.latency_ms for answer in answers if not answer.error]
    if not times:
        return {"p50": float("nan"), "p99": float("nan")}
    p50, p99 = np.percentile(times, [50, 99])
    return {"p50": float(p50), "p99": float(p99)}


def versions_over_time(answers: Sequence[Answer], *, width_s: float) -> list[tuple[float, dict[str, int]]]:
    """Answers per model version in steps of `width_s` seconds: (start of the step, {version: answers})."""
    steps: dict[int, Counter[str]] = {}
    for answer in answers:
        steps.setdefault(int(answer.started / width_s), Counter())[answer.label] += 1
    return [(step * width_s, dict(steps[step])) for step in sorted(steps)]


def draw_timeline(answers: Sequence[Answer], moments: Sequence[Moment], path: Path, *, width_s: float = 0.5) -> None:
    """Write a PNG: answers per second and version over time, with the moments marked, and latency below."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    steps = versions_over_time(answers, width_s=width_s)
    names = sorted({version for _, counts in steps for version in counts})
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(9, 5.5), sharex=True, height_ratios=(2, 1))
    starts = [start for start, _ in steps]
    rates = [[counts.get(name, 0) / width_s for _, counts in steps] for name in names]
    upper.stackplot(starts, rates, labels=names, step="post", alpha=0.85)
    upper.set_ylabel("answers per second")
    for moment in moments:
        for axis in (upper, lower):
            axis.axvline(moment.at, color="black", linewidth=0.8, linestyle="--")
        upper.annotate(moment.what, (moment.at, upper.get_ylim()[1]), rotation=90, va="top", ha="right", fontsize=8)
    upper.legend(loc="lower left")
    answered = [answer for answer in answers if not answer.error]
    lower.plot([a.started for a in answered], [a.latency_ms for a in answered], ".", markersize=1.5)
    lower.set_yscale("log")
    lower.set_ylabel("latency, ms")
    lower.set_xlabel("seconds since the client started")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
