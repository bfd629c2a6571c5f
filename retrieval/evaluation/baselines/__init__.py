"""Baselines that a model has to beat: a small file each, and one line each here.

Each is a function from what may be learned from (training events only; for those called live or last what came before
each request) to a Scorer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.strategies import Strategies, Strategy

if TYPE_CHECKING:
    from retrieval.arrays import Ints
    from retrieval.evaluation.config import EvaluationConfig
    from retrieval.evaluation.ranking import Scorer, Task

_HERE = "retrieval.evaluation.baselines"

_PAIRS = {"reach": "covisitation_reach", "events": "covisitation_events"}


def _live_popularity(window: str, summary: str) -> Strategy:
    where = f"{_HERE}.live_popularity:popularity_last_{window}"
    return Strategy(where, summary, settings={"events": "covisitation_events"})


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
            settings=_PAIRS,
        ),
        "popularity_hour_at_cut": Strategy(
            f"{_HERE}.popularity:popularity_hour_at_cut", "training events of the last hour before the cut"
        ),
        "popularity_day_at_cut": Strategy(f"{_HERE}.popularity:popularity_day_at_cut", "those of the last day"),
        "popularity_last_5_minutes": _live_popularity("5_minutes", "events of the 5 minutes before each request"),
        "popularity_last_10_minutes": _live_popularity("10_minutes", "those of the 10 minutes before it"),
        "popularity_last_15_minutes": _live_popularity("15_minutes", "of 15 minutes"),
        "popularity_last_30_minutes": _live_popularity("30_minutes", "of 30 minutes"),
        "popularity_last_hour": _live_popularity("hour", "of an hour"),
        "popularity_last_day": _live_popularity("day", "of a day"),
        "live_covisitation": Strategy(
            f"{_HERE}.live_covisitation:live_covisitation",
            "items that followed the user's last few, counted up to each request",
            settings=_PAIRS,
        ),
        "live_covisitation_and_popularity": Strategy(
            f"{_HERE}.live_covisitation_and_popularity:live_covisitation_and_popularity",
            "the sum of it and the share of the last 15 minutes' events, weighed on the last hour of training",
            settings=_PAIRS,
        ),
        "repurchase": Strategy(
            f"{_HERE}.repurchase:repurchase",
            "covisitation and what the user engaged with before, the current basket left out",
            settings=_PAIRS,
        ),
    },
)


def make_baseline(name: str, task: Task, train_end: Ints, config: EvaluationConfig) -> Scorer:
    """The scorer of a baseline: what it learned up to `train_end` int64 [U], a global row a user.

    Raises ConfigError where one by import path can't be imported or called so.
    """
    made: Scorer = BASELINES.make(name, task, train_end, **BASELINES.arguments(name, config, {}))
    return made
