"""Estimates of how often every item is a target, for the popularity correction: a file each, and a line each here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.strategies import Strategies, Strategy

if TYPE_CHECKING:
    from retrieval.arrays import Ints
    from retrieval.training.config import NegativesConfig
    from retrieval.training.popularity.base import Popularity

_HERE = "retrieval.training.popularity"
COUNTED, UNCORRECTED = "counted", "uncorrected"
"""Traits: it knows the counts of the training window, by period where batches are of one; nothing is corrected."""

ESTIMATORS = Strategies(
    setting="training.negatives.correction",
    expects="a class called with (counts) and its options, as training.popularity.base.Popularity",
    named={
        "counts": Strategy(f"{_HERE}.counts:Counts", "from counts in the training window", traits={COUNTED}),
        "streaming": Strategy(
            f"{_HERE}.streaming:streaming",
            "from a moving average of the gap between an item's appearances",
            settings={"alpha": "streaming_rate", "buckets": "streaming_buckets", "hashes": "streaming_hashes"},
        ),
        "none": Strategy(
            f"{_HERE}.counts:Counts",
            "no correction (in-batch negatives then collapse)",
            traits={COUNTED, UNCORRECTED},
        ),
    },
    gives=("seen", "share", "observe", "state", "restore"),
)


def make_popularity(config: NegativesConfig, counts: Ints, by_period: Popularity | None = None) -> Popularity:
    """The estimate that the settings name, from the training targets of every catalog item, int64 [N].

    What rests on counts rests on those `by_period`, where batches are of one period each. Raises ConfigError where an
    estimate can't be imported, or takes other arguments.
    """
    if by_period is not None and ESTIMATORS.has(config.correction, COUNTED):
        return by_period
    options = ESTIMATORS.arguments(config.correction, config, config.correction_options)
    made: Popularity = ESTIMATORS.make(config.correction, counts, **options)
    return made
