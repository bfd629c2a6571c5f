"""Settings of `[features]`: what is known about users, items and requests, and how it becomes numbers.

A feature is declared once, here; training, indexing and serving all encode it from this declaration.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from retrieval.config import Section

ITEM_ID = "item_id"
"""Name of the id feature that the item side always has; histories share its vocabulary."""

FIRST_EVENT = "first_event_at"
"""Reserved item column: time in µs of an item's first event before the moment asked about, None where there is none."""

Side = Literal["user", "item", "context"]
SIDES: tuple[Side, ...] = ("user", "item", "context")
TimePart = Literal["minute", "hour", "weekday", "hour_of_week", "day", "month", "year"]
TimeUnit = Literal["s", "ms", "us", "ns"]


class Declaration(Section):
    """What every declared feature has: its name, its column, and the width of its embedding."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="Name of the feature; unique on its side")
    column: str | None = Field(None, min_length=1, description="Column it is read from; the name where not given")
    dim: int | None = Field(
        None, ge=1, le=4096, description="Width of its embedding; the towers choose where not given"
    )

    @property
    def source(self) -> str:
        """The column that the feature is read from."""
        return self.column or self.name


class IdFeature(Declaration):
    """A raw id (of an item, user, session): one code per known id, unknown ones share hashed buckets."""

    kind: Literal["id"] = "id"
    min_count: int = Field(1, ge=1, description="Ids seen less often in training count as unknown")
    max_size: int | None = Field(None, ge=1, description="Keep at most this many ids, the most frequent first")
    oov_buckets: int = Field(1, ge=1, le=1_000_000, description="Codes that unknown ids are hashed into")


class CategoricalFeature(Declaration):
    """One category out of few: text, integer or boolean."""

    kind: Literal["categorical"] = "categorical"
    min_count: int = Field(1, ge=1, description="Categories seen less often in training count as unknown")
    max_size: int | None = Field(None, ge=1, description="Keep at most this many, the most frequent first")
    oov_buckets: int = Field(1, ge=1, le=1_000_000, description="Codes that unknown categories are hashed into")


class MultiCategoricalFeature(Declaration):
    """Several categories at once: a list column, or text cut at `separator`."""

    kind: Literal["multi_categorical"] = "multi_categorical"
    max_values: int = Field(8, ge=1, le=1024, description="Values read per row; those after it are left out")
    separator: str | None = Field(None, min_length=1, description="Cuts text into values, e.g. '|'; none for lists")
    min_count: int = Field(1, ge=1, description="Values seen less often in training count as unknown")
    max_size: int | None = Field(None, ge=1, description="Keep at most this many, the most frequent first")
    oov_buckets: int = Field(1, ge=1, le=1_000_000, description="Codes that unknown values are hashed into")


class NumericFeature(Declaration):
    """A number: standardised by the training rows' mean and deviation, or cut into buckets at their quantiles."""

    kind: Literal["numeric"] = "numeric"
    method: Literal["standardise", "quantile"] = Field("standardise", description="How it becomes an input")
    buckets: int = Field(32, ge=2, le=10_000, description="Number of buckets, for quantile")


class TimeFeature(Declaration):
    """Calendar parts of a timestamp column; of the request's own time where no column is given (context only)."""

    kind: Literal["time"] = "time"
    parts: tuple[TimePart, ...] = Field(("hour", "weekday"), min_length=1, description="Parts, one input each")
    unit: TimeUnit = Field("us", description="Unit of integer timestamps in the column")
    utc_offset_minutes: int = Field(0, ge=-840, le=840, description="Local time minus UTC")


class AgeFeature(Declaration):
    """How long ago a timestamp column was, as seen at the request (or index) time, in logarithmic buckets."""

    kind: Literal["age"] = "age"
    unit: TimeUnit = Field("us", description="Unit of integer timestamps in the column")


class SinceLastFeature(Declaration):
    """Time between the user's last event and the request, in logarithmic buckets (context only)."""

    kind: Literal["since_last"] = "since_last"


class ActivityFeature(Declaration):
    """An item's share of all events in the last `hours`, as seen at the training example's (or index) time.

    Read from the log itself, so it has no column. It moves: indexing reads it anew, so an index is as fresh as its
    build. History tokens leave it out. In training it needs `training.windows = "by_time"`.
    """

    kind: Literal["activity"] = "activity"
    hours: float = Field(24.0, gt=0, le=24 * 366, description="Length of the trailing window")

    @property
    def source(self) -> str:
        """The reserved raw column that holds the share."""
        return f"activity:{self.hours:g}h"


class FirstSeenFeature(Declaration):
    """How long ago an item had its first event, in logarithmic buckets; moves, and is read from the log, as above."""

    kind: Literal["first_seen"] = "first_seen"

    @property
    def source(self) -> str:
        """The reserved raw column that holds the time of the first event in µs."""
        return FIRST_EVENT


class VectorFeature(Declaration):
    """A dense vector that another model made, e.g. a content embedding."""

    kind: Literal["vector"] = "vector"
    size: int = Field(ge=1, le=65_536, description="Number of components")
    normalise: bool = Field(False, description="Scale each vector to length 1")


class TextFeature(Declaration):
    """Free text as hashed words: NFKC, lower case, cut at what is neither letter nor digit."""

    kind: Literal["text"] = "text"
    buckets: int = Field(4096, ge=2, le=10_000_000, description="Codes that words are hashed into")
    max_words: int = Field(16, ge=1, le=1024, description="Distinct words read per row; those after it are left out")


AnyFeature = Annotated[
    IdFeature
    | CategoricalFeature
    | MultiCategoricalFeature
    | NumericFeature
    | TimeFeature
    | AgeFeature
    | SinceLastFeature
    | ActivityFeature
    | FirstSeenFeature
    | VectorFeature
    | TextFeature,
    Field(discriminator="kind"),
]


MOVING = (ActivityFeature, FirstSeenFeature)
"""Kinds whose value for an item changes with time."""


class HistorySpec(Section):
    """`[features.history]`: what of a user's engagement sequence the user tower sees."""

    length: int = Field(200, ge=1, le=20_000, description="Newest events that are read one by one")
    older: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Events before these that are read in chunks: the nearest of 64 events, each one before it twice "
        "as long, one token each (16,000 events: 8 tokens); 0 = none",
    )
    actions: bool = Field(True, description="Whether the action (click, save, …) is an input")
    time: bool = Field(True, description="Whether the time between events is an input")

    @property
    def events(self) -> int:
        """Newest events that are read at all."""
        return self.length + self.older


class FeatureSpec(Section):
    """What is known about users, items and requests, and how it becomes numbers."""

    history: HistorySpec = Field(HistorySpec(), description="The user's engagement sequence")
    user: tuple[AnyFeature, ...] = Field((), description="Features of the user's profile")
    item: tuple[AnyFeature, ...] = Field((), description="Features of items, besides the implied id feature 'item_id'")
    context: tuple[AnyFeature, ...] = Field((), description="Features known at request time")

    def declared(self, side: Side) -> tuple[AnyFeature, ...]:
        """The features of one side, with the implied `item_id` first on the item side."""
        given: tuple[AnyFeature, ...] = getattr(self, side)
        if side != "item" or any(feature.name == ITEM_ID for feature in given):
            return given
        return (IdFeature(name=ITEM_ID), *given)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for side in SIDES:
            names = [name for feature in self.declared(side) for name in input_names(feature)]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"features.{side}: {', '.join(twice)} declared more than once")
            for feature in self.declared(side):
                self._check(side, feature)
        return self

    def _check(self, side: Side, feature: AnyFeature) -> None:
        where = f"features.{side}: {feature.name!r}"
        if side == "item" and feature.name == ITEM_ID and not isinstance(feature, IdFeature):
            raise ValueError(f"{where} must be of kind 'id', found {feature.kind!r}")
        if isinstance(feature, SinceLastFeature) and (side != "context" or not self.history.time):
            raise ValueError(f"{where}: kind 'since_last' is for context, with features.history.time = true")
        if isinstance(feature, MOVING):
            if side != "item":
                raise ValueError(f"{where}: kind {feature.kind!r} is for items")
            if feature.column is not None:
                raise ValueError(f"{where}: kind {feature.kind!r} is read from the log, it has no column")
        if isinstance(feature, TimeFeature) and feature.column is None and side != "context":
            raise ValueError(f"{where}: kind 'time' needs a column here; only context has the request's own time")


def input_names(feature: AnyFeature) -> tuple[str, ...]:
    """Names of the tower inputs that one declared feature becomes: one, but for `time` one per part."""
    if isinstance(feature, TimeFeature):
        return tuple(f"{feature.name}_{part}" for part in feature.parts)
    return (feature.name,)
