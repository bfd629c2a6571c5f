"""What the registry hands out about scheduled work: frozen copies of its rows.

job    queued → running → done | refused (by a gate) | failed | cancelled
       queued → superseded (a later one came before it began), or cancelled
       running → queued (its process was told to stop, or is gone); ended → queued (retried)
alert  due → sent | given_up
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

JobState = Literal["queued", "running", "done", "refused", "failed", "cancelled", "superseded"]
Cancel = Literal["", "asked", "now"]
AlertKind = Literal["refused", "failed", "taken_over"]
AlertState = Literal["due", "sent", "given_up"]

ENDED: tuple[JobState, ...] = ("done", "refused", "failed", "cancelled", "superseded")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRow:
    """One holder's right, until `expires_at`, to do what only one may do; `token` grows whenever the holder changes."""

    name: str
    holder: str
    token: int
    taken_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow:
    """When a kind of job is due next (None: never again), as its trigger says, in the words of the settings."""

    model: str
    what: str
    trigger: str
    next_due_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One piece of scheduled work, and how far it is: `done` of `total` units in step `step_number` of `step_count`.

    It was due at `due_at`, and works on what was known then, whenever it runs. `token` is that of the lease under which
    it was last begun; `log` is relative to the workspace of `holder`.
    """

    id: int
    model: str
    what: str
    due_at: datetime
    state: JobState
    forced: str
    """Why refusals of gates are to be passed over; empty where they aren't."""
    attempts: int
    """How often it was begun, since it was queued or retried by a person."""
    token: int
    holder: str
    step: str
    step_number: int
    step_count: int
    done: int
    total: int | None
    note: str
    log: str
    cancel: Cancel
    queued_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    finished_at: datetime | None
    error: str

    @property
    def as_of_us(self) -> int:
        """`due_at` in µs since 1970."""
        return (self.due_at - _EPOCH) // _MICROSECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """How far a job is: the step that runs, of how many, and the units done of it (`total` None: not known)."""

    step: str = ""
    step_number: int = 0
    step_count: int = 0
    done: int = 0
    total: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """One thing that people are to be told; `note` says why it couldn't be sent."""

    id: int
    model: str
    job: int
    kind: AlertKind
    message: str
    at: datetime
    state: AlertState
    note: str
