"""Where quality is lost between the trained towers and the answer: one part at a time is replaced by what is served.

The same targets at every stage, so that the losses add up to the whole, and each has a paired interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table

from retrieval.arrays import Ints, Mask
from retrieval.evaluation.bootstrap import Bootstrap, Difference

WHOLE = "whole"
"""Name of the difference between the first stage and the last."""
_COUNTED = "counted"


@dataclass(frozen=True)
class StageHits:
    """What was found at one stage."""

    name: str
    what: str
    """Which part is from here on the one that is served, in words."""
    hits: Mask
    """bool [T]: whether each target stands among the first k."""
    remark: str = ""
    counts: bool = True
    """Whether a loss here is one of what is served, rather than of the question."""


@dataclass(frozen=True)
class Stage:
    """One stage's hit rate, and what was lost to the stage before it."""

    name: str
    what: str
    hit_rate: float
    loss: Difference | None
    """HR@k of the stage before it minus this one's; None of the first."""
    remark: str = ""
    counts: bool = True


@dataclass(frozen=True)
class Stages:
    """The way from the trained towers to the answer, in HR@k."""

    k: int
    targets: int
    users: int
    stages: tuple[Stage, ...]
    whole: Difference
    """HR@k of the first stage minus the last one's."""
    counted: Difference
    """The part of it that was lost at stages that count."""

    @property
    def first(self) -> Stage:
        """Where it begins: what was measured."""
        return self.stages[0]

    @property
    def last(self) -> Stage:
        """Where it ends: what is answered."""
        return self.stages[-1]

    def over(self, most: float) -> list[str]:
        """A sentence for each loss that is over `most` and can't be chance; empty where what is measured is served."""
        found = [
            f"{_lost(stage.loss)} of HR@{self.k} is lost at the stage {stage.name!r}: {stage.what}"
            + (f" ({stage.remark})" if stage.remark else "")
            for stage in self.stages
            if stage.loss is not None and stage.counts and _is_over(stage.loss, most)
        ]
        if not found and _is_over(self.counted, most):
            found.append(f"{_lost(self.counted)} of HR@{self.k} is lost in all, at no stage more than {most:g}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def table(self, title: str) -> Table:
        """For people: a line for each stage."""
        made = Table(title=title, title_justify="left", header_style="bold")
        made.add_column("stage")
        made.add_column("what is as served from here on")
        for column in (f"HR@{self.k}", "lost", "95 % interval"):
            made.add_column(column, justify="right", no_wrap=True)
        made.add_column("")
        for stage in self.stages:
            made.add_row(stage.name, stage.what, f"{stage.hit_rate:.4f}", *_cells(stage.loss), stage.remark)
        made.add_section()
        made.add_row(WHOLE, "", "", *_cells(self.whole), "")
        return made


def make_stages(k: int, users: Ints, measured: Sequence[StageHits]) -> Stages:
    """Losses from stage to stage and in all; `users` int64 [T] says which targets belong together."""
    hits = [one.hits.astype(np.float64) for one in measured]
    pairs = {one.name: place for place, one in enumerate(measured) if place}
    gaps = {name: hits[place - 1] - hits[place] for name, place in pairs.items()}
    nothing = np.zeros(len(users))
    gaps[WHOLE] = hits[0] - hits[-1]
    gaps[_COUNTED] = sum((gaps[one.name] for one in measured[1:] if one.counts), start=nothing)
    losses = Bootstrap(users).differences(gaps, dict.fromkeys(gaps, nothing))
    return Stages(
        k=k,
        targets=len(users),
        users=len(np.unique(users)),
        stages=tuple(
            Stage(one.name, one.what, float(rates.mean()), losses[one.name] if place else None, one.remark, one.counts)
            for place, (one, rates) in enumerate(zip(measured, hits, strict=True))
        ),
        whole=losses[WHOLE],
        counted=losses[_COUNTED],
    )


def _is_over(loss: Difference, most: float) -> bool:
    return loss.value > most and loss.interval.low > 0.0


def _lost(loss: Difference | None) -> str:
    assert loss is not None
    return f"{loss.value:.4f} (95 % interval {loss.interval.low:.4f} to {loss.interval.high:.4f})"


def _cells(loss: Difference | None) -> tuple[str, str]:
    if loss is None:
        return "", ""
    return f"{loss.value:+.4f}", f"[{loss.interval.low:+.4f}, {loss.interval.high:+.4f}]"
