"""How far the scores of items can be trusted that training never met: fitted on the split's validation targets."""

from __future__ import annotations

import logging

from retrieval.data import Dataset, Split
from retrieval.data.corpus import measured_corpus
from retrieval.data.facts.training import last_training_rows
from retrieval.data.splits import evenly_spaced
from retrieval.evaluation.calibration import mean_log_likelihood
from retrieval.evaluation.evaluate import in_time_order, inner_products
from retrieval.evaluation.ranking import make_task
from retrieval.features import Features
from retrieval.towers.offline import ItemInputs
from retrieval.towers.pair import TowerPair
from retrieval.training.unknown_items import fit_unknown_scale, with_held_out_items
from retrieval.training.vectors import PairVectors
from retrieval.workflows.workspace import Settings

_MOST = 2_000
"""Targets that it is fitted on: what is chosen from is coarse."""

_log = logging.getLogger(__name__)


def scale_unknown_items(
    pair: TowerPair, settings: Settings, dataset: Dataset, split: Split, *, features: Features, items: ItemInputs
) -> float:
    """Give the trained item tower the scale of unknown ids under which targets are likeliest; returns it.

    Without validation targets the last training events stand in, which are known better than any that come: it is
    rather too small then. Without features there is nothing to fit, since nothing is known of an unknown item.
    """
    if not pair.item.has_features:
        return 1.0
    histories = dataset.histories
    rows = evenly_spaced(split.valid if len(split.valid) else last_training_rows(histories, split.train_end), _MOST)
    corpus = measured_corpus(settings.corpus, dataset, split, "valid")
    candidates = corpus.items_at(int(corpus.moments(histories.timestamps[rows]).max()))
    vectors = PairVectors(dataset, features, with_held_out_items(items, features, candidates, settings.training.seed))
    users = vectors.users(pair, rows)
    order = in_time_order(histories, rows)
    rows, users = rows[order], users[order]
    task = make_task(histories, rows, corpus)
    temperature = float(pair.log_temperature.detach().exp())

    def measured() -> float:
        return mean_log_likelihood(task, inner_products(task, users, vectors.items_at_any_time(pair)), temperature)

    found = fit_unknown_scale(pair, measured)
    _log.info("scores of items that training never met are scaled by %g: the likeliest on %s targets", found, len(rows))
    return found
