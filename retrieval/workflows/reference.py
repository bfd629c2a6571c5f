"""What there is to choose from: every listed strategy with what it is and the settings of its own, for reference pages.

One room per list; a room that is missing here is missed by a test.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from retrieval.evaluation.baselines import BASELINES
from retrieval.features.declaration import Declaration
from retrieval.features.kinds import KINDS
from retrieval.index.backends import BACKENDS
from retrieval.strategies import Strategies
from retrieval.towers.encoders import ENCODERS
from retrieval.training.losses import LOSSES
from retrieval.training.negatives import SOURCES
from retrieval.training.popularity import ESTIMATORS

LISTS: dict[str, Strategies] = {
    "History encoders": ENCODERS,
    "Losses": LOSSES,
    "Sources of negatives": SOURCES,
    "Popularity estimates": ESTIMATORS,
    "Kinds of features": KINDS,
    "Search of a shard": BACKENDS,
    "Baselines": BASELINES,
}
"""Every list of strategies, by what it lists."""


@dataclass(frozen=True, slots=True)
class StrategyDescription:
    """One listed strategy."""

    lists: str
    """What its list lists, a key of `LISTS`."""
    setting: str
    """The setting that chooses it."""
    name: str
    where: str
    """Its import path."""
    summary: str
    """What it is, in a few words."""
    docstring: str
    """First line of its own docstring, or of its module's where it is no class or function."""
    settings: tuple[str, ...]
    """Keys that only it reads: whole ones, of a feature kind those of its table."""


def describe_strategies() -> list[StrategyDescription]:
    """Every listed strategy, list by list. Imports all of them."""
    return [described for lists, strategies in LISTS.items() for described in _described(lists, strategies)]


def _described(lists: str, strategies: Strategies) -> Iterator[StrategyDescription]:
    section = strategies.section or strategies.setting.rpartition(".")[0]
    for name, line in strategies.named.items():
        found = strategies.load(name)
        own = tuple(f"{section}.{key}" for key in line.settings.values())
        if isinstance(found, type) and issubclass(found, Declaration):
            own = tuple(key for key in found.model_fields if key not in Declaration.model_fields)
        # of what is no class or function itself (a backend), its module says what it is
        written = found if callable(found) else importlib.import_module(line.where.partition(":")[0])
        first = (inspect.getdoc(written) or "").partition("\n")[0]
        yield StrategyDescription(lists, strategies.setting, name, line.where, line.summary, first, own)
