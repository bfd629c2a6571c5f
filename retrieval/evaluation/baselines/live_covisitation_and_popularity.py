"""The sum of live co-visitation and live popularity, weighed against each other on what came before the test."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from retrieval.arrays import Ints, Scores
from retrieval.data.facts.training import training_rows
from retrieval.data.splits import evenly_spaced
from retrieval.evaluation.baselines.live_covisitation import pair_shares
from retrieval.evaluation.baselines.live_popularity import as_shares, live_popularity
from retrieval.evaluation.metrics import rank_metrics
from retrieval.evaluation.ranking import Scorer, Task, other_targets, rank_targets
from retrieval.types import HOUR_US, MINUTE_US

_WINDOW_US = 15 * MINUTE_US
_WEIGHTS = (1.0, 3.0, 10.0, 30.0)
_CHOOSING_US = HOUR_US
_CHOOSING = 4_000


def live_covisitation_and_popularity(task: Task, train_end: Ints, *, reach: int, events: int) -> Scorer:
    """Live co-visitation, and λ × the item's share of the last fifteen minutes' events.

    Score of j: Σ P(j | i) / place over the user's last 5 events i, as `live_covisitation` has it, plus λ × j's share.
    λ is that of 1, 3, 10 and 30 with the best NDCG@10 on training events: 4,000 of the last hour's, evenly spaced.
    """
    weight = chosen_weight(task, train_end, reach=reach, events=events)
    return weighed(task, reach, events)(weight)


def chosen_weight(task: Task, train_end: Ints, *, reach: int, events: int) -> float:
    """λ, chosen on training events alone."""
    rows = _last_hour(task, train_end)
    if not len(rows):
        return _WEIGHTS[1]
    held_out = other_targets(task, rows)
    scorer_of = weighed(held_out, reach, events)
    found = {weight: rank_metrics(rank_targets(held_out, scorer_of(weight)).ranks, [10]) for weight in _WEIGHTS}
    return max(_WEIGHTS, key=lambda weight: found[weight]["ndcg@10"])


def weighed(task: Task, reach: int, events: int) -> Callable[[float], Scorer]:
    """From a λ to the sum with it; what is counted is counted once."""
    add = pair_shares(task, reach, events)
    popular = live_popularity(task, _WINDOW_US, events)

    def of(weight: float) -> Scorer:
        def score(part: slice) -> Scores:
            out = as_shares(popular(part), weight)
            add(part, out)
            return out

        return score

    return of


def _last_hour(task: Task, train_end: Ints) -> Ints:
    """Some of the training events of the last hour of training whose items are candidates: int64 [n], in log order."""
    histories = task.histories
    found: Ints = np.empty(0, np.int64)
    newest = -1
    for rows in training_rows(histories, train_end):
        every = np.concatenate([found, rows])
        at = np.asarray(histories.timestamps[every])
        newest = max(newest, int(at.max()))
        found = every[at > newest - _CHOOSING_US]
    found = found[task.column_of[histories.items[found]] >= 0]
    return evenly_spaced(found, _CHOOSING)
