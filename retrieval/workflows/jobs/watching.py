"""Following a job from another terminal: its row, again and again, until it has ended."""

from __future__ import annotations

import time
from collections.abc import Iterator

from retrieval.registry import JobRow, Registry
from retrieval.registry.job_rows import ENDED

_LOOK_S = 0.5


def changes(registry: Registry, number: int) -> Iterator[JobRow]:
    """The job as it is, and again whenever it says something new, until it has ended. Raises NotFoundError."""
    seen: JobRow | None = None
    while True:
        row = registry.jobs.get(number)
        if seen is None or _told(row) != _told(seen):
            yield row
        if row.state in ENDED:
            return
        seen = row
        time.sleep(_LOOK_S)


def _told(row: JobRow) -> tuple[object, ...]:
    return row.state, row.step, row.done, row.total, row.note, row.attempts, row.cancel, row.error
