"""Which items evaluation ranks for whom, as of which moments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from retrieval.arrays import Ints, Mask
from retrieval.data.facts.items import first_event_times
from retrieval.data.facts.training import last_training_us
from retrieval.evaluation import candidate_items
from retrieval.types import MINUTE_US
from retrieval.workflows.evaluation.evaluate import EvaluationSetup


@dataclass(frozen=True)
class Rules:
    """As the settings declare them."""

    allow_seen: bool
    items_at: Callable[[int], Mask]
    moments: Callable[[Ints], Ints]


def rules_of(setup: EvaluationSetup) -> Rules:
    """Those of an evaluation."""
    config, histories = setup.config, setup.dataset.histories
    candidates, first = candidate_items(histories, config), first_event_times(histories)
    step = round(config.reindex_minutes * MINUTE_US)
    end = last_training_us(histories, setup.split.train_end)

    def items_at(at_us: int) -> Mask:
        return candidates & (first < at_us) if config.candidates == "known" else candidates

    def moments(times: Ints) -> Ints:
        return times // step * step if step else np.full(len(times), end)

    return Rules(not config.filter_seen, items_at, moments)
