"""Kind `since_last`: how long before the request the user's last event was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from retrieval.features.columns import Column
from retrieval.features.declaration import Declaration, Examples, Side
from retrieval.features.kinds.age import Age
from retrieval.features.kinds.transform import State

if TYPE_CHECKING:
    from retrieval.features.spec import HistorySpec

LAST_EVENT = "last_event_at"
"""Reserved context column: time in µs of the newest event in the user's history, None where there is none.

Whoever encodes a context puts it there from the history.
"""


class SinceLastFeature(Declaration):
    """Time between the user's last event and the request, in logarithmic buckets (context only)."""

    kind: Literal["since_last"] = "since_last"

    examples: ClassVar[Examples] = (("context", {"name": "pause"}),)

    @property
    def source(self) -> str:
        """The reserved column."""
        return LAST_EVENT

    @property
    def stored(self) -> bool:
        """It is made from the history."""
        return False

    def check(self, side: Side, history: HistorySpec) -> None:
        """Of the context, and only where the history's times may be looked at."""
        if side != "context" or not history.time:
            raise ValueError("kind 'since_last' is for context, with features.history.time = true")

    def fit(self, columns: Iterator[Column]) -> Age:  # noqa: ARG002
        """Nothing to learn."""
        return Age(self)

    def restore(self, state: State) -> Age:  # noqa: ARG002
        """Nothing was learned."""
        return Age(self)
