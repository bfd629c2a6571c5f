"""The older part of long histories: chunks of events that double in size going back, each one token of the tower.

The newest `features.history.length` events are tokens of their own. Of up to `features.history.older` events before
them, the nearest chunk (number 0) holds BLOCK events, the next twice as many, and so on; the last one what is left. So
16,000 events are 8 more tokens. A chunk's token is the mean of its events' tokens; where it stands, and when it was,
is decided here once, for training, evaluation and serving.

n histories (rows), T older events of theirs, M chunks, L history length with BOS, A actions, G gaps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Codes
from retrieval.features.inputs import Events, HistoryInputs

Fractions = npt.NDArray[np.float32]
BLOCK = 64
"""Events of the nearest chunk. All but the farthest chunk of a history are whole blocks of so many."""
_EDGES = BLOCK * ((1 << np.arange(12, dtype=np.int64)) - 1)
"""So many events before the newest older one chunk 0, 1, … begins; the last edge is beyond what may be read."""


def chunk_counts(events: Codes) -> Codes:
    """How many chunks so many older events make; int64, any shape."""
    return np.searchsorted(_EDGES, events, side="left").astype(np.int64)


@dataclass(frozen=True, slots=True)
class Chunks:
    """The chunks of n histories, history by history, the oldest first.

    items: int64 [T] codes of all their events. starts, sizes: int64 [M], which of these each chunk holds. row: int64
    [M], whose it is. number: int64 [M], 0 for the nearest. times: int64 µs [M], of its newest event: from then on all
    of it is known. actions [M, A], gaps [M, G]: shares of its events with each code.
    """

    items: Codes
    starts: Codes
    sizes: Codes
    row: Codes
    number: Codes
    times: Codes
    actions: Fractions
    gaps: Fractions

    def ahead(self, rows: int) -> Codes:
        """Chunks of each of `rows` histories, int64 [n]."""
        return np.bincount(self.row, minlength=rows)

    def part(self, number: int, count: int) -> Chunks:
        """Chunks of every `count`-th history from `number` on, renumbered."""
        mine = self.row % count == number
        sizes = self.sizes[mine]
        return Chunks(
            items=self.items[np.repeat(mine, self.sizes)],
            starts=np.cumsum(sizes) - sizes,
            sizes=sizes,
            row=self.row[mine] // count,
            number=self.number[mine],
            times=self.times[mine],
            actions=self.actions[mine],
            gaps=self.gaps[mine],
        )

    def blocks(self, pad: int) -> tuple[Codes, Codes]:
        """The events in blocks: codes int64 [K, BLOCK], the rest of a chunk's last block `pad`; the chunk of each [K].

        Whole blocks are summed some 20 times as fast as ragged rows where no kernel for these is at hand.
        """
        blocks = -(-self.sizes // BLOCK)
        chunk = np.repeat(np.arange(len(blocks)), blocks)
        items = np.full(len(chunk) * BLOCK, pad, np.int64)
        shift = BLOCK * (np.cumsum(blocks) - blocks) - self.starts
        items[np.arange(len(self.items)) + np.repeat(shift, self.sizes)] = self.items
        return items.reshape(-1, BLOCK), chunk

    def tokens(self, width: int) -> dict[str, npt.NDArray[np.int64] | Fractions]:
        """What a tower reads of the chunks beside their items: `older_…`, M rows each.

        `older_at` is the place of the chunk's token among all tokens of histories that are `width` long.
        """
        return {
            "older_at": self.row * width + self._column(),
            "older_number": self.number,
            "older_actions": self.actions,
            "older_gaps": self.gaps,
        }

    def served(self, width: int, pad: int) -> dict[str, npt.NDArray[np.int64] | Fractions]:
        """The same with the items, in blocks: all inputs of a served tower that are about chunks."""
        items, chunk = self.blocks(pad)
        return {"older_items": items, "older_chunk": chunk, "older_sizes": self.sizes, **self.tokens(width)}

    def place(
        self, history: Mapping[str, Codes], lengths: Codes, inputs: HistoryInputs
    ) -> tuple[dict[str, Codes], Codes]:
        """Put the chunks before BOS: codes and times [n, L] by name, right-padded, and lengths [n], with them [n, L'].

        A chunk's item code is the mark `inputs.chunk`, its other codes are 0, as BOS's are; it asks at its own time, so
        that it knows of nothing later.
        """
        ahead = self.ahead(len(lengths))
        lengths = lengths + ahead
        L = history["items"].shape[1]
        column = np.arange(int(lengths.max()))[None, :] - ahead[:, None]
        own, source = (column >= 0) & (column < L), np.clip(column, 0, L - 1)
        fill = {"items": inputs.pad}
        placed = {
            name: np.where(own, np.take_along_axis(values, source, 1), fill.get(name, 0))
            for name, values in history.items()
        }
        at = (self.row, self._column())
        placed["items"][at] = inputs.chunk
        placed["times"][at] = placed["query_times"][at] = self.times
        return placed, lengths

    def _column(self) -> Codes:
        """Columns of the chunks in their histories: the farthest first, the nearest just before BOS."""
        ahead = self.ahead(int(self.row.max(initial=-1)) + 1)
        return ahead[self.row] - 1 - self.number


def make_chunks(events: Events, gaps: Codes, inputs: HistoryInputs) -> Chunks:
    """Chunks of events of n histories, and the codes of their gaps, int64 [T]."""
    counts = events.counts
    pieces = chunk_counts(counts)
    row = np.repeat(np.arange(len(counts)), pieces)
    number = np.repeat(np.cumsum(pieces), pieces) - 1 - np.arange(len(row))
    sizes = np.minimum(_EDGES[number + 1], counts[row]) - _EDGES[number]
    starts = np.cumsum(sizes) - sizes
    chunk = np.repeat(np.arange(len(row)), sizes)
    return Chunks(
        items=events.items,
        starts=starts,
        sizes=sizes,
        row=row,
        number=number,
        times=events.times[starts + sizes - 1],
        actions=_shares(events.actions, chunk, sizes, inputs.actions_cardinality),
        gaps=_shares(gaps, chunk, sizes, inputs.gaps_cardinality),
    )


def _shares(codes: Codes, chunk: Codes, sizes: Codes, cardinality: int) -> Fractions:
    """Of each chunk's events, the share with each code: float32 [M, cardinality]."""
    counts = np.bincount(chunk * cardinality + codes, minlength=len(sizes) * cardinality)
    return (counts.reshape(-1, cardinality) / sizes[:, None]).astype(np.float32)
