"""How far the scores of items can be trusted that training never met: a factor fitted on targets that were held out.

The vector of such an item follows from its features alone, with the id vector that stands for all unknown ids. It says
what items with these features are like on average; what would set this one apart isn't known, so that of many new items
the luckiest direction wins over items that earned theirs. Shrinking an estimate by its reliability is the classical
remedy (Efron & Morris 1977); here vectors are shortened, so that scores stay one inner product.

How far is told by the likelihood of targets that were held out: it counts what new items would take from others even
where they don't reach the top, while a hit rate is often the same for all lengths (news, validation: NDCG@10 .4414 for
each of them, likelihood best at 1; on later targets HR@10 is .593 at 1 and .583 at .25).

N catalog items, V codes of the item_id vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch

from retrieval.arrays import Mask
from retrieval.features import ITEM_ID, Features, id_known
from retrieval.towers.offline import ItemInputs
from retrieval.towers.pair import TowerPair

SCALES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.55, 0.4, 0.25)
"""Lengths that are tried. Not 0: new items would have no order among themselves."""
_ENOUGH = 0.01  # of the candidates: so many unknown ones say themselves what becomes of such items
_HELD_OUT = 20  # else every so many-th of the known ones plays a new one


def fit_unknown_scale(pair: TowerPair, measure: Callable[[], float]) -> float:
    """Give the item tower the scale with which `measure` (higher is better) is best, of equally good ones the least."""
    scale = pair.item.unknown_scale
    found: dict[float, float] = {}
    for tried in SCALES:
        scale.fill_(tried)
        found[tried] = measure()
    best = min(SCALES, key=lambda tried: (-found[tried], tried))
    scale.fill_(best)
    return best


def with_held_out_items(items: ItemInputs, features: Features, candidates: Mask, seed: int) -> ItemInputs:
    """Inputs in which some candidates (bool [N]) have an unknown id: those of new items.

    Where enough candidates have one anyway, just these: what they are like is better known from themselves.
    """
    known = _known(items.by_item, features) & candidates
    if candidates.sum() - known.sum() >= _ENOUGH * candidates.sum():
        return items
    rows = np.flatnonzero(known)
    rng = np.random.default_rng(seed)
    hidden = rng.choice(rows, -(-len(rows) // _HELD_OUT), replace=False)
    ids = items.by_item[ITEM_ID].clone()
    buckets = features.item_vocabulary.oov_buckets
    ids[torch.from_numpy(hidden)] = torch.from_numpy(rng.integers(1, buckets + 1, len(hidden)))
    return replace(items, by_item={**items.by_item, ITEM_ID: ids})


def _known(by_item: Mapping[str, torch.Tensor], features: Features) -> Mask:
    return id_known(features.inputs("item"), {ITEM_ID: by_item[ITEM_ID].cpu().numpy()})
