"""What a user buys again and again, and what goes with what was just bought: for shops."""

from __future__ import annotations

import numpy as np

from retrieval.arrays import Figures, Ints, Scores
from retrieval.data.facts.ranges import concat_ranges
from retrieval.evaluation.baselines.covisitation import covisitation
from retrieval.evaluation.ranking import Scorer, Task
from retrieval.types import DAY_US

# chosen on the validation targets of Online Retail (HR@10, NDCG@10): .309, .205; without halving and a weight of .01
# .308, .204; one for every item bought before in place of the logarithm, .308, .205
_WEIGHT = np.float32(0.02)
_HALF_LIFE_DAYS = 60.0
_BELOW_ALL = np.float32(-1.0)
_LINES = 256


def repurchase(task: Task, train_end: Ints, *, reach: int, events: int) -> Scorer:
    """The user's own past items and co-visitation, the current basket left out.

    Score of j: the `covisitation` of j, plus .02 × ln(1 + Σ 2^(−age / 60 days)) over the user's events with j before
    the request. Events at the request's own time are the current basket: they don't count as past, and their items
    stand below all others.
    """
    together = covisitation(task, train_end, reach=reach, events=events)

    def score(part: slice) -> Scores:
        out = together(part)
        rows = task.targets[part]
        for first in range(0, len(out), _LINES):
            _add_own(task, rows[first : first + _LINES], out[first : first + _LINES])
        return out

    return score


def _add_own(task: Task, rows: Ints, out: Scores) -> None:
    lines, columns, ages = _own_events(task, rows)
    places, past = lines * out.shape[1] + columns, ages > 0
    bought, of = np.unique(places[past], return_inverse=True)
    often = np.bincount(of, np.exp2(-ages[past] / _HALF_LIFE_DAYS), len(bought))
    flat = out.reshape(-1)
    flat[bought] += _WEIGHT * np.log1p(often).astype(np.float32)
    flat[places[~past]] = _BELOW_ALL


def _own_events(task: Task, rows: Ints) -> tuple[Ints, Ints, Figures]:
    """Of the events of each target's user before it: the target's place in `rows`, the candidate, the age in days."""
    histories = task.histories
    starts = histories.first_rows_of(rows)
    lengths = rows - starts
    events = concat_ranges(starts, lengths)
    lines = np.repeat(np.arange(len(rows)), lengths)
    columns = task.column_of[histories.items[events]]
    at = np.asarray(histories.timestamps[rows])
    ages = (at[lines] - np.asarray(histories.timestamps[events])) / DAY_US
    known = columns >= 0
    return lines[known], columns[known], ages[known]
