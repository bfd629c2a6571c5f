"""Settings of `[corpus]`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from retrieval.config import Section
from retrieval.data.corpus.seen import Seen
from retrieval.errors import ConfigError
from retrieval.filters.text import parse_filters

WHERE = "corpus.where"

_OF_SEEN = frozenset({"allow_seen", "seen_by", "seen_by_events", "seen_hours"})
# What is asked of an index, not what it holds
_OF_REQUESTS = _OF_SEEN | {"refresh_minutes"}


class CorpusConfig(Section):
    """What can be retrieved, and how fresh it is: for validation in training, evaluation, baselines and indexes."""

    items: Literal["engaged", "catalog"] = Field(
        "engaged",
        description="engaged = items with an event; catalog = all items, those without any event too. "
        "Point in time: an item whose first event is yet to come is not in it.",
    )
    engaged_days: float | None = Field(
        None, gt=0, description="engaged: an event within so many days; any event when left out."
    )
    where: tuple[str, ...] = Field(
        (),
        description="Conditions on item columns, all of which must hold, as `query --filter` takes them: "
        "COLUMN=A,B, COLUMN=LOW..HIGH, COLUMN!=….",
    )
    unknown_items: bool = Field(
        False,
        description="Items can be retrieved of which the model version knows nothing, neither their id nor a value of "
        "a feature; all of them score 0.",
    )
    available_from: str = Field(
        "", description="Item column with the date from which an item can be retrieved; empty = there is none."
    )
    refresh_minutes: float = Field(
        0.0,
        ge=0.0,
        description="How often the index is refreshed while the model stays: a request meets the newest one before its "
        "time; 0 = it is built once.",
    )
    allow_seen: bool = Field(
        False, description="Items of the user's history may come back, unless a request says otherwise."
    )
    seen_by: tuple[str, ...] = Field(
        (),
        description="Item columns of text or whole numbers, such as a series: what shares a value with one of the "
        "user's newest events is left out, too, whatever allow_seen says, unless a request says otherwise.",
    )
    seen_by_events: int = Field(10, ge=1, le=10_000, description="How many of the newest events count for seen_by.")
    seen_hours: float | None = Field(
        None,
        gt=0,
        description="Only what the user engaged with in so many hours before a request is left out (a shop's current "
        "basket, where people buy the same again); all of the history when left out.",
    )

    @property
    def seen(self) -> Seen:
        """What of a user's history can't be retrieved again, unless a request says otherwise."""
        return Seen(self.allow_seen, self.seen_hours)

    def of_index(self) -> dict[str, Any]:
        """What decides which items an index of a moment holds, as JSON values."""
        return self.model_dump(mode="json", exclude=set(_OF_REQUESTS))

    def of_seen(self) -> dict[str, Any]:
        """What decides what of a user's history, and what is alike to it, is left out."""
        return self.model_dump(include=set(_OF_SEEN))

    @field_validator("where")
    @classmethod
    def _are_filters(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        try:
            parse_filters(texts, where="condition")
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return texts

    @model_validator(mode="after")
    def _hours_of_seen(self) -> CorpusConfig:
        if self.allow_seen and self.seen_hours is not None:
            raise ValueError("seen_hours needs allow_seen = false: it says what is left out")
        return self

    @model_validator(mode="after")
    def _days_of_engaged(self) -> CorpusConfig:
        if self.engaged_days is not None and self.items != "engaged":
            raise ValueError(f'engaged_days needs items = "engaged"; items is {self.items!r}')
        return self
