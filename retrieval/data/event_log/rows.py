"""Events as rows of the log, and what became of all that were given."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from retrieval.arrays import Ints, Mask
from retrieval.data.event_log.event import Rejected


@dataclass(frozen=True)
class EventRows:
    """Usable events, r rows, as the log holds them and as histories will read them.

    `user_ids` and `item_ids` are text, `times` µs as the log's own unit keeps them; `positions` int64 [r] are those in
    what was given.
    """

    batch: pa.RecordBatch
    user_ids: list[str]
    item_ids: list[str]
    times: Ints
    actions: list[str]
    positions: Ints


@dataclass(frozen=True)
class Outcome:
    """What became of events: of the usable `rows`, those that are `new` [r] (the others were there), and the rest.

    `ignored` are columns of the context that the log has no place for.
    """

    rows: EventRows
    new: Mask
    rejected: tuple[Rejected, ...]
    ignored: tuple[str, ...]
