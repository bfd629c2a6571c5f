"""Sources of negatives: one small file each, and the one dict that names them."""

from __future__ import annotations

from retrieval.training.negatives.base import NegativeSource
from retrieval.training.negatives.in_batch import InBatch
from retrieval.training.negatives.mixed import Candidates, all_items, mix
from retrieval.training.negatives.uniform import Uniform

SOURCES: dict[str, type[InBatch] | type[Uniform]] = {"in_batch": InBatch, "uniform": Uniform}
"""What `[training.negatives]` may give a number for; each is made with (counts of the training window, number)."""

__all__ = ["SOURCES", "Candidates", "InBatch", "NegativeSource", "Uniform", "all_items", "mix"]
