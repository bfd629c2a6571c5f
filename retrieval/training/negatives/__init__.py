"""Sources of negatives: one small file each, and the one dict that names them."""

from __future__ import annotations

from collections.abc import Callable

from retrieval.training.config import NegativesConfig
from retrieval.training.negatives.base import NegativeSource
from retrieval.training.negatives.in_batch import InBatch
from retrieval.training.negatives.memory import Memory
from retrieval.training.negatives.mixed import Candidates, all_items, mix
from retrieval.training.negatives.uniform import Uniform
from retrieval.training.popularity import Popularity

SOURCES: dict[str, Callable[[Popularity, NegativesConfig], NegativeSource]] = {
    "in_batch": lambda popularity, config: InBatch(popularity, config.in_batch),
    "uniform": lambda popularity, config: Uniform(popularity, config.uniform),
    "memory": lambda popularity, config: Memory(popularity, config.memory, config.memory_size),
}
"""What `[training.negatives]` may give a number for; each is made from the items' popularity and the settings."""


def make_sources(popularity: Popularity, config: NegativesConfig) -> dict[str, NegativeSource]:
    """The sources that the settings give a number above 0, by name."""
    return {name: make(popularity, config) for name, make in SOURCES.items() if getattr(config, name)}


__all__ = [
    "SOURCES",
    "Candidates",
    "InBatch",
    "Memory",
    "NegativeSource",
    "Uniform",
    "all_items",
    "make_sources",
    "mix",
]
