"""Settings of `[data]`."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import Field, field_validator, model_validator

from retrieval.config import Section, is_empty


def parse_moment(text: str) -> int:
    """An ISO 8601 moment (`2017-10-10`, `2017-10-10T12:00:00+02:00`; UTC where no zone is given) in µs since the epoch.

    Raises ValueError on anything else.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def iso_moment(at_us: int) -> str:
    """A moment in µs since the epoch as `parse_moment` reads it, in UTC."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)).isoformat()


class SplitConfig(Section):
    """`[data.split]`: which events are for training, for choosing a model, and for the final measurement."""

    method: Literal["leave_one_out", "time"] = Field(
        "leave_one_out",
        description="leave_one_out: a user's last event is the test target, the one before it the validation target; "
        "time: everything before a moment is for training.",
    )
    valid_hours: float = Field(
        24.0, gt=0, description="time: how long the validation window is that ends where the test window begins."
    )
    test_hours: float = Field(
        24.0, gt=0, description="time: how long the test window is that ends with the last event."
    )
    valid_from: str = Field(
        "", description="time: start of the validation window (ISO 8601, UTC) instead of valid_hours; empty = unused."
    )
    test_from: str = Field(
        "", description="time: start of the test window (ISO 8601, UTC) instead of test_hours; empty = unused."
    )
    test_until: str = Field(
        "", description="time: end of the test window, itself outside (ISO 8601, UTC); empty = after the last event."
    )

    @field_validator("valid_from", "test_from", "test_until")
    @classmethod
    def _is_moment(cls, text: str) -> str:
        if text:
            parse_moment(text)
        return text

    @model_validator(mode="after")
    def _in_order(self) -> SplitConfig:
        moments = [parse_moment(text) for text in (self.valid_from, self.test_from, self.test_until) if text]
        if any(later <= earlier for earlier, later in itertools.pairwise(moments)):
            raise ValueError("valid_from, test_from and test_until must follow one another in time")
        return self


class DataConfig(Section):
    """Where the events, users and items are, and what their columns are called."""

    events: str = Field(
        "data/events", min_length=1, description="Events: a Parquet file or a (partitioned) folder, in the workspace."
    )
    users: str = Field("", description="User profiles: a Parquet file or folder; empty = there are none.")
    items: str = Field("", description="Item features: a Parquet file or folder; empty = there are none.")
    user_column: str = Field("user_id", min_length=1, description="Column with the user's id (integer or text).")
    item_column: str = Field("item_id", min_length=1, description="Column with the item's id (integer or text).")
    item_name_column: str | None = Field(
        None,
        description="Item column that people know an item by, shown beside its id; unset = the text column called "
        "title, name …, where there is one, empty = ids alone.",
    )
    timestamp_column: str = Field("timestamp", min_length=1, description="Column with the time of the event.")
    action_column: str | None = Field(
        None,
        description='Column with what the user did; unset = "action" where there is such a column, empty = ignore it.',
    )
    timestamp_unit: Literal["auto", "s", "ms", "us", "ns"] = Field(
        "auto", description="Unit of timestamps that are plain numbers; auto = told from their magnitude."
    )
    context_columns: tuple[str, ...] = Field(
        (), description="Columns of the events with what is known at request time (device, place, …)."
    )
    positive_actions: tuple[str, ...] = Field(
        (), description="Actions that count as engagement, to be predicted; empty = every action."
    )
    future_hours: float = Field(
        24.0, ge=0, description="Events later than this many hours from now are refused as implausible."
    )
    until: str = Field(
        "",
        exclude_if=is_empty,
        description="Only events before this moment are read (ISO 8601, UTC), as if the later ones had not come yet; "
        "empty = all.",
    )
    memory_limit_mb: int = Field(
        1024, ge=128, description="Memory that building histories may use; larger logs are sorted through files."
    )
    split: SplitConfig = SplitConfig()

    @field_validator("until")
    @classmethod
    def _is_moment(cls, text: str) -> str:
        if text:
            parse_moment(text)
        return text

    @property
    def until_us(self) -> int | None:
        """The moment in µs since the epoch, None where all events are read."""
        return parse_moment(self.until) if self.until else None

    @model_validator(mode="after")
    def _columns_differ(self) -> DataConfig:
        used = [self.user_column, self.item_column, self.timestamp_column, *self.context_columns]
        used += [self.action_column] if self.action_column else []
        repeated = sorted({name for name in used if used.count(name) > 1})
        if repeated:
            raise ValueError(f"columns used for two things: {', '.join(repeated)}")
        return self
