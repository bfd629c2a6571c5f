"""What every fitted feature provides: it encodes, and is written down as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from retrieval.arrays import Ints
from retrieval.features.columns import Column
from retrieval.features.declaration import Declaration, Side
from retrieval.features.inputs import Encoded, FeatureInput
from retrieval.features.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class State:
    """What a transform learned: plain JSON numbers, and the words of its vocabulary where it has one."""

    facts: dict[str, Any] = field(default_factory=dict)
    vocabulary: Vocabulary | None = None


class Transform(Protocol):
    """A fitted feature. Immutable and safe to share between threads."""

    @property
    def declaration(self) -> Declaration:
        """The declaration it was made from."""

    def inputs(self, side: Side) -> tuple[FeatureInput, ...]:
        """The tower inputs that it becomes."""

    def encode(self, column: Column, at: Ints | None) -> Encoded:
        """Arrays by input name for the column's rows; `at` is each row's time in µs where it is known.

        Raises RequestError (values of a request) or DataError (a stored column) on values of a wrong type.
        """

    def state(self) -> State:
        """What it learned."""


def codes_input(
    declaration: Declaration, side: Side, cardinality: int, name: str | None = None, *, unknown: int = 1
) -> FeatureInput:
    """An input of form `codes`."""
    return FeatureInput(name or declaration.name, side, "codes", cardinality, 1, declaration.dim, unknown)


def required_times(column: Column, at: Ints | None) -> Ints:
    """`at`, which this feature can't do without."""
    if at is None:
        raise column.error("needs the time of the request, and there is none")
    return at
