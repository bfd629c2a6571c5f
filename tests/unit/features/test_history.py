"""The one layout of history tokens, against one token at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.features import CODES_AND_TIMES, EncodedHistories, Events, HistoryInputs
from retrieval.features.history import HistoryTokens, lay_out

INPUTS = HistoryInputs(items_cardinality=53, actions_cardinality=3, gaps_cardinality=8, bos=50, pad=51, chunks=8)


def gap_codes(deltas: np.ndarray) -> np.ndarray:
    return 1 + deltas % 7


def events_of(counts: list[int], rng: np.random.Generator) -> Events:
    total = sum(counts)
    times = np.concatenate([np.sort(rng.integers(1, 1000, count)) for count in counts])
    return Events(rng.integers(0, 50, total), rng.integers(0, 3, total), times, np.array(counts, np.int64))


def one_by_one(events: Events, query_us: np.ndarray) -> list[list[tuple[int, ...]]]:
    """(item, action, gap, time, query time) of each token of each history."""
    histories, first = [], 0
    for row, count in enumerate(events.counts.tolist()):
        own = range(first, first + count)
        times = [*events.times[first : first + count].tolist(), int(query_us[row])]
        tokens = [(INPUTS.bos, 0, 0, times[0], times[0])]
        for place, event in enumerate(own):
            gap = 0 if place == 0 else int(gap_codes(events.times[event] - events.times[event - 1]))
            tokens.append((events.items[event], events.actions[event], gap, times[place], times[place + 1]))
        histories.append(tokens)
        first += count
    return histories


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 99))
def test_tokens_are_laid_out_one_by_one(counts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    events, query_us = events_of(counts, rng), rng.integers(1000, 2000, len(counts))
    laid = lay_out(EncodedHistories(events), query_us, INPUTS, gap_codes)
    assert laid.chunks is None
    assert laid.lengths.tolist() == [count + 1 for count in counts]
    assert laid.before_bos.tolist() == [0] * len(counts)
    for row, tokens in enumerate(one_by_one(events, query_us)):
        padding = [(INPUTS.pad, 0, 0, 0, 0)] * (laid.items.shape[1] - len(tokens))
        found = zip(*(getattr(laid, name)[row].tolist() for name in CODES_AND_TIMES), strict=True)
        assert list(found) == tokens + padding


@pytest.mark.parametrize("chunked", [False, True])
def test_several_are_laid_out_as_each_alone(*, chunked: bool) -> None:
    rng = np.random.default_rng(0)
    each = [
        EncodedHistories(events_of([count], rng), events_of([older], rng) if chunked else None)
        for count, older in ((3, 70), (0, 0), (5, 0), (5, 200))
    ]
    query_us = np.array([1100, 1200, 1300, 1400])
    whole = lay_out(EncodedHistories.join(each), query_us, INPUTS, gap_codes)
    alone = [lay_out(one, query_us[row : row + 1], INPUTS, gap_codes) for row, one in enumerate(each)]
    for row, own in enumerate(alone):
        length = int(own.lengths[0])
        assert whole.lengths[row] == length
        assert whole.before_bos[row] == own.before_bos[0]
        for name in CODES_AND_TIMES:
            np.testing.assert_array_equal(getattr(whole, name)[row, :length], getattr(own, name)[0], err_msg=name)
    assert whole.items[0, whole.before_bos[0]] == INPUTS.bos
    assert (whole.chunks is not None) == chunked


def test_parts_hold_every_history_once() -> None:
    rng = np.random.default_rng(1)
    counts, chunked = [3, 0, 5, 2, 4], [70, 0, 3, 300, 0]
    whole = lay_out(
        EncodedHistories(events_of(counts, rng), events_of(chunked, rng)), np.arange(5) + 2000, INPUTS, gap_codes
    )
    parts = [whole.part(number, 2) for number in range(2)]
    for number, part in enumerate(parts):
        for name in (*CODES_AND_TIMES, "lengths", "before_bos"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[number::2], err_msg=name)
    assert sum(_events(part) for part in parts) == _events(whole) == sum(chunked)


def _events(tokens: HistoryTokens) -> int:
    assert tokens.chunks is not None
    return len(tokens.chunks.items)
