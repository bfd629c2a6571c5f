"""History encoders: one small file each, and the one dict that names them."""

from __future__ import annotations

from collections.abc import Callable

from retrieval.towers.config import TowerConfig
from retrieval.towers.encoders.base import HistoryEncoder
from retrieval.towers.encoders.mean import MeanEncoder
from retrieval.towers.encoders.transformer import TransformerEncoder

ENCODERS: dict[str, Callable[[TowerConfig], HistoryEncoder]] = {
    "transformer": lambda config: TransformerEncoder(
        config.dim, config.blocks, config.heads, config.expansion, config.dropout
    ),
    "mean": lambda config: MeanEncoder(config.dim, config.expansion, config.dropout),
}
"""What `[towers] encoder` may be."""

__all__ = ["ENCODERS", "HistoryEncoder"]
