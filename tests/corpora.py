"""Corpora for tests, without a dataset."""

from __future__ import annotations

from typing import Any

import numpy as np

from retrieval.arrays import Mask
from retrieval.data.corpus import Corpus, CorpusConfig, end_of_log
from retrieval.data.facts.items import NEVER, first_event_times
from retrieval.data.histories.histories import Histories
from retrieval.types import MINUTE_US

AS_DECLARED = CorpusConfig()
"""The declaration of a workspace that says nothing."""
ONE_US = 1 / MINUTE_US
"""`refresh_minutes` of an index that is always up to date."""


def fixed_corpus(eligible: Mask, **config: Any) -> Corpus:
    """These items (bool [N]), whatever the moment."""
    given = CorpusConfig(items="catalog", **config)
    return Corpus(given, np.asarray(eligible, np.bool_), np.full(len(eligible), NEVER))


def engaged_corpus(histories: Histories, eligible: Mask | None = None, **config: Any) -> Corpus:
    """Items with an event before the index was built; without refreshes that was at the end of the log."""
    given = np.ones(len(histories.item_ids), np.bool_) if eligible is None else eligible
    return Corpus(CorpusConfig(**config), given, first_event_times(histories), built_us=end_of_log(histories))
