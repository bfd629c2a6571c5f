"""The declaration in words, for reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retrieval.data.corpus.config import CorpusConfig
from retrieval.data.corpus.corpus import Corpus
from retrieval.data.corpus.seen import Seen


def described_items(config: CorpusConfig) -> str:
    """Which items: "items with an event in the last 3 days, where price=1..5"."""
    what = "the whole catalog" if config.items == "catalog" else "items with an event"
    if config.engaged_days is not None:
        what += f" in the last {config.engaged_days:g} days"
    conditions = [*config.where, *([f"from {config.available_from} on"] if config.available_from else [])]
    return f"{what}, where {' and '.join(conditions)}" if conditions else what


def described_seen(seen: Seen) -> str:
    """What becomes of what a user had engaged with: "left out of the lists for 1 hours"."""
    what = "may be recommended again" if seen.allowed else "left out of the lists"
    return what if seen.hours is None else f"{what} for {seen.hours:g} hours"


def described_seen_and_alike(config: CorpusConfig) -> str:
    """The same, and what becomes of what shares values of `corpus.seen_by` with the newest events."""
    what = described_seen(config.seen)
    if not config.seen_by:
        return what
    return (
        f"{what}; left out is what shares {' or '.join(config.seen_by)} with the newest {config.seen_by_events} events"
    )


def described_index(corpus: Corpus, *, of_window: bool) -> str:
    """How fresh the index is that requests meet; `of_window`: targets are those of a window of time."""
    minutes = corpus.config.refresh_minutes
    if minutes:
        return f"as it was up to {minutes:g} minutes before each request"
    return "built once, where the window of the targets begins" if of_window else "built once, after the last event"


def differences(declared: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """In what two declarations differ: "items = 'catalog' in place of 'engaged'"; empty where in nothing.

    Keys that one of them has not are passed over.
    """
    return ", ".join(
        f"{name} = {other[name]!r} in place of {value!r}"
        for name, value in declared.items()
        if name in other and other[name] != value
    )
