"""History encoders: one small file each, and the one dict that names them."""

from __future__ import annotations

from collections.abc import Callable

from retrieval.towers.config import TowerConfig
from retrieval.towers.encoders.base import HistoryEncoder
from retrieval.towers.encoders.hstu import HstuEncoder
from retrieval.towers.encoders.mean import MeanEncoder
from retrieval.towers.encoders.transformer import TransformerEncoder

ENCODERS: dict[str, Callable[[TowerConfig, bool], HistoryEncoder]] = {
    "transformer": lambda config, clock: TransformerEncoder(config, time_bias=clock, gated=False),
    "ligr": lambda config, clock: TransformerEncoder(config, time_bias=clock, gated=True),
    "hstu": lambda config, clock: HstuEncoder(config.dim, config.blocks, config.heads, config.dropout, time_bias=clock),
    "mean": lambda config, _: MeanEncoder(config.dim, config.expansion, config.dropout),
}
"""What `[towers] encoder` may be. Each is told whether times may bias its attention."""

__all__ = ["ENCODERS", "HistoryEncoder"]
