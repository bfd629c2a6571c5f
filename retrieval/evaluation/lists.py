"""What a few users would have been shown: lists of evenly spaced targets, kept while targets are ranked."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from retrieval.arrays import Scores
from retrieval.evaluation.ranking import Task

_LISTS, _LENGTH, _EVENTS = 6, 10, 5


@dataclass(frozen=True)
class ShownList:
    """Catalog rows: of the user's newest events, the newest first; of what is shown, best first; of what came."""

    seen: tuple[int, ...]
    shown: tuple[int, ...]
    target: int


@dataclass
class ExampleLists:
    """Keeps the best items of some targets while they are ranked; give it as `observe`."""

    lists: int = _LISTS
    length: int = _LENGTH
    found: list[ShownList] = field(default_factory=list, init=False)

    def __call__(self, task: Task, part: slice, scores: Scores) -> None:
        """Take up a block of scores float32 [B, C], −∞ where a candidate is not shown."""
        wanted = np.linspace(0, len(task.targets) - 1, min(self.lists, len(task.targets))).astype(np.int64)
        for position in wanted[(wanted >= part.start) & (wanted < part.stop)].tolist():
            self.found.append(self._list(task, position, scores[position - part.start]))

    def _list(self, task: Task, position: int, scores: Scores) -> ShownList:
        row = int(task.targets[position])
        start = int(task.histories.first_rows_of(task.targets[position : position + 1])[0])
        seen = task.histories.items[max(start, row - _EVENTS) : row][::-1]
        best = np.argsort(-scores, kind="stable")[: self.length]
        shown = task.columns[best[np.isfinite(scores[best])]]
        return ShownList(tuple(map(int, seen)), tuple(map(int, shown)), int(task.histories.items[row]))
