"""Histories as the user tower reads them: tokens with their codes and times, in the one layout that there is.

Training, offline evaluation and serving differ in where events come from (the log, a request, the user store); from
their codes on, all of them call `lay_out`. A history's tokens are, from left to right: its chunks of earlier events
where it has any, BOS, then its newest events, the oldest first; what is right of them is padding.

n histories, T events of all of them together, L tokens of the longest history.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Codes
from retrieval.features.chunks import Chunks, make_chunks
from retrieval.features.inputs import EncodedHistories, Events, HistoryInputs

CODES_AND_TIMES = {"items": "items", "actions": "actions", "gaps": "gaps", "times": "times", "query_times": "asked"}
"""What is [n, L] of history tokens, and its name among the inputs of an exported tower, in their order."""


@dataclass(frozen=True, slots=True)
class HistoryTokens:
    """Tokens of n histories, right-padded.

    items, actions: int64 [n, L] codes. gaps: int64 [n, L], the bucket of the time between an event and the one before
    it; 0 where there is none (BOS, the first event that is a token) or features.history.time is off. times: int64 µs
    [n, L], when each token happened; of BOS that of the event after it, or of the request where there is none.
    query_times: int64 µs [n, L], when what the token predicts happened: the next event's time, of the last token the
    request's. lengths: int64 [n], tokens that are no padding. Padding is `pad`, and 0 elsewhere.
    """

    items: Codes
    actions: Codes
    gaps: Codes
    times: Codes
    query_times: Codes
    lengths: Codes
    chunks: Chunks | None = None
    """What the tokens before BOS are chunks of; None where the features have none."""

    @property
    def before_bos(self) -> Codes:
        """Columns of BOS, which are the numbers of chunks before it: int64 [n]."""
        return np.zeros_like(self.lengths) if self.chunks is None else self.chunks.ahead(len(self.lengths))

    def part(self, number: int, count: int) -> HistoryTokens:
        """Every `count`-th history from `number` on, as wide as all of them are."""
        rows = slice(number, None, count)
        return HistoryTokens(
            items=self.items[rows],
            actions=self.actions[rows],
            gaps=self.gaps[rows],
            times=self.times[rows],
            query_times=self.query_times[rows],
            lengths=self.lengths[rows],
            chunks=None if self.chunks is None else self.chunks.part(number, count),
        )

    def tower_inputs(self, pad: int) -> dict[str, npt.NDArray[Any]]:
        """All of it under the names of an exported tower's inputs; `pad` fills up the blocks of chunked items."""
        inputs = {key: getattr(self, name) for name, key in CODES_AND_TIMES.items()} | {"lengths": self.lengths}
        return inputs if self.chunks is None else {**inputs, **self.chunks.served(self.items.shape[1], pad)}


def lay_out(
    histories: EncodedHistories, query_us: Codes, inputs: HistoryInputs, gap_codes: Callable[[Codes], Codes]
) -> HistoryTokens:
    """Tokens of n histories, each queried for what comes next at `query_us` (int64 µs [n]).

    `gap_codes` gives the codes of times between events, µs of any shape.
    """
    newest = histories.newest
    counts, rows = newest.counts, len(newest.counts)
    width = int(counts.max()) + 1
    event = np.arange(width) <= counts[:, None]
    event[:, 0] = False
    places = event.reshape(-1).nonzero()[0]  # of events among all tokens
    laid = np.zeros((5, rows * width), np.int64)
    items, actions, gaps, times, query_times = laid
    items.fill(inputs.pad)
    items[::width] = inputs.bos
    items[places], actions[places], times[places] = newest.items, newest.actions, newest.times
    gaps[places[1:]] = gap_codes(newest.times[1:] - newest.times[:-1])
    gaps[1::width] = 0  # nothing is before a history's first event
    # each token's query is when the next one happened, the last one's when the request is made
    query_times[places - 1] = newest.times
    query_times[np.arange(0, rows * width, width) + counts] = query_us
    times[::width] = query_times[::width]
    shape = (rows, width)
    tokens = HistoryTokens(
        items=items.reshape(shape),
        actions=actions.reshape(shape),
        gaps=gaps.reshape(shape),
        times=times.reshape(shape),
        query_times=query_times.reshape(shape),
        lengths=counts + 1,
    )
    return tokens if histories.chunked is None else _with_chunks(tokens, histories.chunked, inputs, gap_codes)


def _with_chunks(
    tokens: HistoryTokens, events: Events, inputs: HistoryInputs, gap_codes: Callable[[Codes], Codes]
) -> HistoryTokens:
    """The tokens with those of the chunks of `events` before them."""
    chunks = make_chunks(events, _gaps(events, gap_codes), inputs)
    placed, lengths = chunks.place({name: getattr(tokens, name) for name in CODES_AND_TIMES}, tokens.lengths, inputs)
    return replace(tokens, lengths=lengths, chunks=chunks, **placed)


def _gaps(events: Events, gap_codes: Callable[[Codes], Codes]) -> Codes:
    """Codes of the time between each event and the one before it, 0 for each history's first: int64 [T]."""
    gaps = np.zeros(len(events.times), np.int64)
    gaps[1:] = gap_codes(np.diff(events.times))
    gaps[(np.cumsum(events.counts) - events.counts)[events.counts > 0]] = 0
    return gaps
