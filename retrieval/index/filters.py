"""Filters on item attributes, as plain data: any-of, range, and-ed. `Attributes` works out what they select."""

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


Filter = AnyOf | Range | AllOf
