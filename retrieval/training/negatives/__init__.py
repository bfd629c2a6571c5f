"""Sources of negatives: one small file each, and one line each here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from retrieval.strategies import Strategies, Strategy

if TYPE_CHECKING:
    from retrieval.training.config import NegativesConfig
    from retrieval.training.negatives.base import NegativeSource
    from retrieval.training.popularity.base import Popularity

_HERE = "retrieval.training.negatives"

SOURCES = Strategies(
    setting="training.negatives.more.source",
    expects="a class called with (popularity, number) and its options, as training.negatives.base.NegativeSource",
    named={
        "in_batch": Strategy(f"{_HERE}.in_batch:InBatch", "positives of the same batch, shared as negatives"),
        "uniform": Strategy(f"{_HERE}.uniform:Uniform", "items drawn uniformly from those seen in training"),
        "memory": Strategy(
            f"{_HERE}.memory:Memory",
            "positives of earlier batches, drawn from a memory of them",
            settings={"size": "memory_size"},
        ),
    },
    gives=("draw", "expected", "state", "restore"),
    section="training.negatives",
)
"""What `[training.negatives]` may give a number for; each is made from the items' popularity and its number."""


def make_sources(popularity: Popularity, config: NegativesConfig) -> dict[str, NegativeSource]:
    """The sources that the settings give a number above 0, by the name under which a checkpoint knows them.

    Raises ConfigError where one can't be imported, or takes other arguments.
    """
    chosen: list[tuple[str, str, int, Mapping[str, Any]]] = [
        (name, name, getattr(config, name), {}) for name in SOURCES.named if getattr(config, name, 0)
    ]
    chosen += [(f"more[{place}]", one.source, one.number, one.options) for place, one in enumerate(config.more)]
    return {
        name: SOURCES.make(source, popularity, number, **SOURCES.arguments(source, config, options))
        for name, source, number, options in chosen
    }
