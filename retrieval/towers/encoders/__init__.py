"""History encoders: one small file each, and one line each here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.strategies import Strategies, Strategy

if TYPE_CHECKING:
    from retrieval.towers.config import TowerConfig
    from retrieval.towers.encoders.base import HistoryEncoder

_HERE = "retrieval.towers.encoders"
ATTENTION = "attention"
"""Trait: it has attention heads, so that the width must divide among them."""

ENCODERS = Strategies(
    setting="towers.encoder",
    expects="a torch module called with (config, time_bias=…) and its options, as towers.encoders.base.HistoryEncoder",
    named={
        "hstu": Strategy(
            f"{_HERE}.hstu:HstuEncoder", "pointwise gated attention with position and time bias", traits={ATTENTION}
        ),
        "hstu_repeats": Strategy(
            f"{_HERE}.hstu:hstu_repeats", "the same, for items that users come back to", traits={ATTENTION}
        ),
        "transformer": Strategy(f"{_HERE}.transformer:transformer", "a causal transformer", traits={ATTENTION}),
        "ligr": Strategy(f"{_HERE}.transformer:ligr", "the same with gated blocks", traits={ATTENTION}),
        "mean": Strategy(f"{_HERE}.mean:MeanEncoder", "the mean of its tokens (baseline)"),
    },
    gives=("forward", "last", "parameters"),
)


def make_encoder(config: TowerConfig, *, time_bias: bool) -> HistoryEncoder:
    """The encoder that the settings name, freshly initialised; `time_bias`: whether times may bias its attention.

    Raises ConfigError where it can't be imported, or takes other arguments.
    """
    made: HistoryEncoder = ENCODERS.make(config.encoder, config, time_bias=time_bias, **config.encoder_options)
    return made
