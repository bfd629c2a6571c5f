"""Kind `time`: calendar parts of a timestamp."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from retrieval.arrays import Ints
from retrieval.features.columns import Column
from retrieval.features.declaration import Declaration, Examples, Side, TimeUnit
from retrieval.features.inputs import Encoded, FeatureInput
from retrieval.features.kinds.transform import State, codes_input, required_times
from retrieval.types import DAY_US, HOUR_US, MINUTE_US

if TYPE_CHECKING:
    from retrieval.features.spec import HistorySpec

TimePart = Literal["minute", "hour", "weekday", "hour_of_week", "day", "month", "year"]

_FIRST_YEAR, _YEARS = 1970, 131


def _civil(micros: Ints) -> tuple[Ints, Ints]:
    """Months since January 1970, and day of the month from 0."""
    days = np.floor_divide(micros, DAY_US).astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    return months.astype(np.int64), (days - months.astype("datetime64[D]")).astype(np.int64)


PARTS: dict[TimePart, tuple[int, Callable[[Ints], Ints]]] = {
    "minute": (60, lambda us: us // MINUTE_US % 60),
    "hour": (24, lambda us: us // HOUR_US % 24),
    # 1970-01-01 was a Thursday; Monday is 0
    "weekday": (7, lambda us: (us // DAY_US + 3) % 7),
    "hour_of_week": (168, lambda us: (us // HOUR_US + 72) % 168),
    "day": (31, lambda us: _civil(us)[1]),
    "month": (12, lambda us: _civil(us)[0] % 12),
    "year": (_YEARS, lambda us: np.clip(_civil(us)[0] // 12, 0, _YEARS - 1)),
}
"""Each part's number of values, and the function from local µs to 0 … values − 1; years are held in 1970–2100."""


class TimeFeature(Declaration):
    """Calendar parts of a timestamp column; of the request's own time where no column is given (context only)."""

    kind: Literal["time"] = "time"
    parts: tuple[TimePart, ...] = Field(("hour", "weekday"), min_length=1, description="Parts, one input each")
    unit: TimeUnit = Field("us", description="Unit of integer timestamps in the column")
    utc_offset_minutes: int = Field(0, ge=-840, le=840, description="Local time minus UTC")

    examples: ClassVar[Examples] = (("context", {"name": "now", "parts": ["hour", "weekday"]}),)

    @property
    def source(self) -> str | None:
        """The column, None for the request's own time."""
        return self.column

    @property
    def stored(self) -> bool:
        """The request's own time is not."""
        return self.column is not None

    @property
    def input_names(self) -> tuple[str, ...]:
        """One input per part, named `<feature>_<part>`."""
        return tuple(f"{self.name}_{part}" for part in self.parts)

    def check(self, side: Side, history: HistorySpec) -> None:  # noqa: ARG002
        """Only a request has a time of its own."""
        if self.column is None and side != "context":
            raise ValueError("kind 'time' needs a column here; only context has the request's own time")

    def fit(self, columns: Iterator[Column]) -> TimeParts:  # noqa: ARG002
        """Nothing to learn."""
        return TimeParts(self)

    def restore(self, state: State) -> TimeParts:  # noqa: ARG002
        """Nothing was learned."""
        return TimeParts(self)


@dataclass(frozen=True)
class TimeParts:
    """Codes 1 + part, 0 = missing; one input per part."""

    declaration: TimeFeature

    def inputs(self, side: Side) -> tuple[FeatureInput, ...]:
        """One input of codes per part, named `<feature>_<part>`."""
        made = self.declaration
        return tuple(codes_input(made, side, 1 + PARTS[part][0], f"{made.name}_{part}") for part in made.parts)

    def encode(self, column: Column, at: Ints | None) -> Encoded:
        """int64 [n] per part; of the request's time where the declaration names no column."""
        made = self.declaration
        if made.column is None:
            micros, known = required_times(column, at), None
        else:
            micros, known = column.times(made.unit)
        local = micros + made.utc_offset_minutes * MINUTE_US
        out: Encoded = {}
        for part in made.parts:
            codes = 1 + PARTS[part][1](local)
            out[f"{made.name}_{part}"] = codes if known is None else np.where(known, codes, 0)
        return out

    def state(self) -> State:
        """Nothing."""
        return State()
