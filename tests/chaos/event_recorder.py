"""A process that records events until it is killed: says on stdout, a line each, which it was told are recorded.

`python -m tests.chaos.event_recorder ROOT FIRST COUNT BATCH SEGMENT_EVENTS`
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from retrieval.data.config import DataConfig
from retrieval.data.event_log.config import EventsConfig
from retrieval.data.event_log.event import Event
from retrieval.data.event_log.log import EventLog

AT = 1_700_000_000_000_000


def numbered(number: int) -> Event:
    """The event of a number."""
    return Event(f"event-{number}", f"user-{number % 97}", f"item-{number % 31}", AT + number, action="click")


def main(root: Path, first: int, count: int, batch: int, segment_events: int) -> None:
    """Record the events first … count - 1, a batch at a time; a line is the number of those that are recorded."""
    config = EventsConfig(segment_events=segment_events, segment_s=3600.0)
    with closing(EventLog(config, DataConfig(), root)) as log:
        for start in range(first, count, batch):
            end = min(start + batch, count)
            log.append([numbered(number) for number in range(start, end)])
            sys.stdout.write(f"{end}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
