"""Filters on item attributes, as plain data: any-of, range; all, some or none of several. `Attributes` evaluates them.

An item whose attribute is missing is selected by no `AnyOf` and no `Range`; so `NoneOf` over them lets it pass.
"""

from __future__ import annotations

from dataclasses import dataclass

Value = str | int | float | bool
"""What a filter compares an attribute with."""


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Items whose `field` is one of `values`; for a multi-valued field, items that have at least one of them."""

    field: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Items whose numeric `field` is in [minimum, maximum], both ends included; None leaves an end open."""

    field: str
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class AllOf:
    """Items that every one of `filters` selects; no filters select every item."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class SomeOf:
    """Items that at least one of `filters` selects; no filters select no item."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class NoneOf:
    """Items that not one of `filters` selects, among them those whose attribute is missing; no filters select all."""

    filters: tuple[Filter, ...]


Filter = AnyOf | Range | AllOf | SomeOf | NoneOf


def fields_of(filter_: Filter) -> tuple[str, ...]:
    """The fields that a filter tests, each once, in the order in which they first stand."""
    if isinstance(filter_, (AnyOf, Range)):
        return (filter_.field,)
    return tuple(dict.fromkeys(field for part in filter_.filters for field in fields_of(part)))
