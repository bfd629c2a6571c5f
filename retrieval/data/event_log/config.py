"""Settings of `[events]`."""

from __future__ import annotations

from pydantic import Field

from retrieval.config import Section


class EventsConfig(Section):
    """Recording events while services run."""

    enabled: bool = Field(
        False, description="Whether events can be recorded: `serve all` then runs the event service as well."
    )
    port: int = Field(50052, ge=0, le=65535, description="Port of the event service; 0 = a free one.")
    segment_events: int = Field(
        100_000, ge=1, le=5_000_000, description="Recorded events become a segment when there are so many."
    )
    segment_s: float = Field(
        60.0, gt=0, le=86_400, description="They become one, however few they are, after so many seconds."
    )
    deduplicate_hours: float = Field(
        168.0, gt=0, le=87_600, description="An event whose event_id was recorded within so many hours is a duplicate."
    )
    history_events: int = Field(
        20_000,
        ge=1,
        le=1_000_000,
        description="The newest so many events of a user stay in the user store when another is recorded.",
    )
    max_batch: int = Field(1000, ge=1, le=100_000, description="The most events in one message of RecordEvents.")
    streams: int = Field(64, ge=1, le=1024, description="Streams of RecordEvents that are served at once.")
    rejects_mib: int = Field(
        64, ge=1, le=65_536, description="The rejects file is put aside, in the place of the one before, at this size."
    )
