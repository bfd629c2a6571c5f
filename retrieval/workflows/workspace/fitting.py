"""Which recipe fits a log, told from its shape."""

from __future__ import annotations

from dataclasses import dataclass

from retrieval.data.facts.shape import LogShape

LEAST_EVENTS = 20_000
"""Smaller logs say too little: the defaults stay."""
_SHORT = 20.0
_LEAST_DAYS = 2.0
_NEWS_DAYS, _NEWS_SHARE = 7.0, 0.2
"""Items of news are read in their first days, in a log so long that this shows: where all items are as old as the log,
the median age is about three quarters of its length."""


@dataclass(frozen=True)
class Fit:
    """A recipe that fits a log, and why."""

    recipe: str
    why: str


def fitting_recipe(shape: LogShape) -> Fit | None:
    """The recipe for a log of that shape, None for one that is too small to tell."""
    if shape.events < LEAST_EVENTS:
        return None
    age = shape.item_age_days
    if shape.days >= _LEAST_DAYS and age <= min(_NEWS_DAYS, _NEWS_SHARE * shape.days):
        return Fit("news", f"items are engaged with when they are young, {age:.1f} days at the median")
    length = f"{shape.history:.0f} events of a user at the median"
    if shape.history < _SHORT:
        return Fit("short-histories", f"histories are short, {length}")
    return Fit("long-histories", f"histories are long, {length}")
