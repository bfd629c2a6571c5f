"""Losses: one small file each, and one line each here. Every loss takes a `Comparison` and gives a scalar."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from retrieval.strategies import Strategies, Strategy

if TYPE_CHECKING:
    from retrieval.training.config import TrainingConfig
    from retrieval.training.losses.comparison import Loss

_HERE = "retrieval.training.losses"
SOFTMAX, NEEDS_CORRECTION, EVERY_ITEM, IF_FEW = "softmax", "needs_correction", "every_item", "every_item_if_few"
"""Traits: its logits are those of a softmax over items; it is a way of correcting for popularity; its candidates are
every item seen in training, each with probability 1; the same, where these are at most `FEW_ITEMS`."""
FEW_ITEMS = 20_000
"""It paid off with 12,000 items, the most it was measured with. At 20,000 a step holds half a gigabyte of scores."""

LOSSES = Strategies(
    setting="training.loss",
    expects="a function of (Comparison) and its options that gives a scalar tensor, see training.losses.comparison",
    named={
        "sampled_softmax": Strategy(
            f"{_HERE}.sampled_softmax:sampled_softmax", "logQ on negatives, the positive as it is", traits={SOFTMAX}
        ),
        "corrected_softmax": Strategy(
            f"{_HERE}.corrected_softmax:corrected_softmax",
            "the same, given that negatives aren't the positive",
            traits={SOFTMAX, NEEDS_CORRECTION},
        ),
        "logq_softmax": Strategy(
            f"{_HERE}.logq_softmax:logq_softmax",
            "logQ on the positive too, as often published",
            traits={SOFTMAX, NEEDS_CORRECTION},
        ),
        "full_softmax": Strategy(  # the same sum as sampled_softmax, over other candidates
            f"{_HERE}.sampled_softmax:sampled_softmax",
            "every item seen in training, for small corpora (negatives unused)",
            traits={SOFTMAX, EVERY_ITEM},
        ),
        "auto": Strategy(
            f"{_HERE}.sampled_softmax:sampled_softmax",
            f"full_softmax where training saw at most {FEW_ITEMS:,} items, sampled_softmax beyond",
            traits={SOFTMAX, IF_FEW},
        ),
        "gbce": Strategy(f"{_HERE}.gbce:gbce", "generalised binary cross-entropy", settings={"calibration": "gbce_t"}),
    },
)


def compares_every_item(loss: str, items: int) -> bool:
    """Whether the candidates of that loss are all the `items` seen in training, not drawn from them."""
    return LOSSES.has(loss, EVERY_ITEM) or (LOSSES.has(loss, IF_FEW) and items <= FEW_ITEMS)


def make_loss(config: TrainingConfig) -> Loss:
    """The loss that the settings name, with its options. Raises ConfigError where it can't be imported or called so."""
    options = LOSSES.arguments(config.loss, config, config.loss_options)
    found: Loss = LOSSES.to_call(config.loss, "comparison", **options)
    return partial(found, **options) if options else found
