"""Attributes of items on their way: asked of the hosts that hold the items, for what counts as seen and for answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from retrieval.errors import RequestError
from retrieval.filters.filter import AnyOf
from retrieval.filters.values import ValueColumn, Values
from retrieval.index.query import ItemAttributes
from retrieval.index.sharding import item_hashes
from retrieval.serving.core.answer import IgnoredColumn
from retrieval.serving.core.hosts import HostAttributes
from retrieval.serving.core.planning import Leg


@dataclass(frozen=True, slots=True)
class SeenBy:
    """Item attributes by which an item counts as seen: it shares a value with one of the newest `events`.

    `declared`: by the settings, not by the request: then an attribute that the index lacks is left out, and said to be.
    """

    attributes: tuple[str, ...]
    events: int
    declared: bool = False


@dataclass(frozen=True, slots=True)
class SeenItems:
    """What a user saw last, raw item ids, and by which attributes others are alike to it."""

    by: SeenBy
    item_ids: tuple[str, ...]

    def alike(self, found: FoundAttributes) -> tuple[AnyOf, ...]:
        """The values that items must not have. Raises RequestError on an attribute that the index lacks."""
        if not self.by.declared:
            for name in self.by.attributes:
                found.check(name)
        values = ((name, found.of(name, self.item_ids)) for name in self.by.attributes)
        return tuple(AnyOf(name, several) for name, several in values if several)

    def ignored(self, found: FoundAttributes) -> tuple[IgnoredColumn, ...]:
        """The attributes that have no effect."""
        return tuple(IgnoredColumn(f"seen_by.{name}", "unknown") for name in self.by.attributes if name not in found)


@dataclass(slots=True)
class FoundAttributes:
    """What hosts said of items: by attribute, by raw item id, the values."""

    values: dict[str, dict[str, Values]] = field(default_factory=dict)
    several: dict[str, bool] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def add(self, heard: ItemAttributes) -> None:
        """Take in what one host said."""
        for name, column in heard.columns.items():
            self.several[name] = column.several
            self.values.setdefault(name, {}).update(zip(heard.item_ids, column.values, strict=True))

    def check(self, name: str) -> None:
        """Raises RequestError where no host has that attribute."""
        if name not in self:
            raise RequestError(f"seen_by.attributes: the index holds no attribute {name[:64]!r} (see index.attributes)")

    def of(self, name: str, item_ids: Iterable[str]) -> Values:
        """The distinct values of some items together."""
        known = self.values.get(name, {})
        return tuple(dict.fromkeys(value for item in item_ids for value in known.get(item, ())))

    def columns(self, names: Sequence[str], item_ids: Sequence[str]) -> dict[str, ValueColumn]:
        """Of `names` those that hosts have, each with the values of `item_ids`."""
        return {
            name: ValueColumn(tuple(self.values[name].get(item, ()) for item in item_ids), self.several[name])
            for name in names
            if name in self
        }


def asked_of_hosts(legs: Sequence[Leg], item_ids: Sequence[str], names: Sequence[str]) -> Mapping[Leg, HostAttributes]:
    """What each host of a plan is asked: the items of its own shard; hosts that hold none of them are left out."""
    shards = (item_hashes(item_ids) % len(legs)).tolist() if item_ids else []
    of: dict[int, list[str]] = {}
    for item, shard in zip(item_ids, shards, strict=True):
        of.setdefault(shard, []).append(item)
    return {leg: HostAttributes(leg.address, of[shard], names) for leg in legs if (shard := leg.build.shard) in of}
