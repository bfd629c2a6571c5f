"""Baselines that a model has to beat: a small file each, and one line each here.

Each is a function from what may be learned from (training events only; for those in live.py what came before each
request) to a Scorer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.strategies import Strategies, Strategy

if TYPE_CHECKING:
    from retrieval.arrays import Ints
    from retrieval.evaluation.config import EvaluationConfig
    from retrieval.evaluation.ranking import Scorer, Task

_HERE = "retrieval.evaluation.baselines"

BASELINES = Strategies(
    setting="evaluation.baselines",
    expects="a function of (task, train_end) and its options that gives an evaluation.ranking.Scorer",
    named={
        "popularity": Strategy(f"{_HERE}.popularity:popularity", "training events of an item"),
        "recent_popularity": Strategy(
            f"{_HERE}.popularity:recent_popularity", "those of the last recent_days", settings={"days": "recent_days"}
        ),
        "covisitation": Strategy(
            f"{_HERE}.covisitation:covisitation",
            "items that followed the user's last few in training",
            settings={"reach": "covisitation_reach", "events": "covisitation_events"},
        ),
        "popularity_hour_at_cut": Strategy(
            f"{_HERE}.popularity:popularity_hour_at_cut", "training events of the last hour before the cut"
        ),
        "popularity_day_at_cut": Strategy(f"{_HERE}.popularity:popularity_day_at_cut", "those of the last day"),
        "popularity_last_hour": Strategy(
            f"{_HERE}.live:popularity_last_hour", "events of the hour before each request"
        ),
        "popularity_last_day": Strategy(f"{_HERE}.live:popularity_last_day", "those of the day before it"),
        "live_covisitation": Strategy(
            f"{_HERE}.live:live_covisitation",
            "items that followed the user's last few, counted up to each request",
            settings={"reach": "covisitation_reach"},
        ),
    },
)


def make_baseline(name: str, task: Task, train_end: Ints, config: EvaluationConfig) -> Scorer:
    """The scorer of a baseline: what it learned up to `train_end` int64 [U], a global row a user.

    Raises ConfigError where one by import path can't be imported or called so.
    """
    made: Scorer = BASELINES.make(name, task, train_end, **BASELINES.arguments(name, config, {}))
    return made
