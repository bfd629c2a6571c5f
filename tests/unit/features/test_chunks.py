from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.features import BLOCK, Events, Features, FeatureSpec, HistoryInputs, chunk_counts, fit_features
from retrieval.features.chunks import Chunks, make_chunks
from tests.unit.features.conftest import MakeDataset

KNOWN = HistoryInputs(items_cardinality=53, actions_cardinality=3, gaps_cardinality=5, bos=50, pad=51, chunks=8)


def made(counts: list[int], seed: int = 0) -> tuple[Chunks, Events, np.ndarray]:
    rng, total = np.random.default_rng(seed), sum(counts)
    codes = rng.integers(0, 50, total), rng.integers(0, 3, total)
    events = Events(*codes, np.arange(total) * 7, np.array(counts, np.int64))
    gaps = rng.integers(0, 5, total)
    return make_chunks(events, gaps, KNOWN), events, gaps


def slowly(count: int) -> list[int]:
    """Sizes of the chunks of so many events, the farthest first."""
    sizes, size = [], BLOCK
    while count:
        sizes.append(min(size, count))
        count, size = count - sizes[-1], size * 2
    return sizes[::-1]


@given(st.lists(st.integers(0, 1500), max_size=5))
def test_chunks_double_going_back_and_hold_every_event_once(counts: list[int]) -> None:
    chunks, events, gaps = made(counts)
    sizes = [slowly(count) for count in counts]
    assert chunks.sizes.tolist() == [size for own in sizes for size in own]
    assert chunk_counts(np.array(counts, np.int64)).tolist() == [len(own) for own in sizes]
    assert chunks.ahead(len(counts)).tolist() == [len(own) for own in sizes]
    assert chunks.number.tolist() == [number for own in sizes for number in reversed(range(len(own)))]
    assert chunks.starts.tolist() == (np.cumsum(chunks.sizes) - chunks.sizes).tolist()
    np.testing.assert_array_equal(chunks.items, events.items)
    for chunk, (start, size) in enumerate(zip(chunks.starts, chunks.sizes, strict=True)):
        own = slice(start, start + size)
        assert chunks.times[chunk] == events.times[own][-1]
        np.testing.assert_allclose(chunks.actions[chunk], np.bincount(events.actions[own], minlength=3) / size)
        np.testing.assert_allclose(chunks.gaps[chunk], np.bincount(gaps[own], minlength=5) / size)


def test_sixteen_thousand_events_are_eight_tokens() -> None:
    assert chunk_counts(np.array([0, 1, 64, 65, 192, 16_000, 100_000])).tolist() == [0, 1, 1, 2, 2, 8, 11]


@given(st.lists(st.integers(0, 700), min_size=1, max_size=4))
def test_blocks_hold_each_chunk_s_events_and_nothing_else(counts: list[int]) -> None:
    chunks, _, _ = made(counts)
    items, chunk = chunks.blocks(pad=51)
    assert items.shape == (len(chunk), BLOCK)
    for number, (start, size) in enumerate(zip(chunks.starts, chunks.sizes, strict=True)):
        own = items[chunk == number].reshape(-1)
        assert own[:size].tolist() == chunks.items[start : start + size].tolist()
        assert (own[size:] == 51).all()
        assert len(own) - size < BLOCK


def test_parts_are_what_their_histories_alone_would_be() -> None:
    counts = [300, 0, 70, 5, 900]
    chunks, events, gaps = made(counts)
    ends = np.cumsum(counts)
    for number in range(2):
        mine = [slice(ends[row] - counts[row], ends[row]) for row in range(number, 5, 2)]
        own = Events(
            *(np.concatenate([part[one] for one in mine]) for part in (events.items, events.actions, events.times)),
            np.array(counts[number::2]),
        )
        alone = make_chunks(own, np.concatenate([gaps[one] for one in mine]), KNOWN)
        part = chunks.part(number, 2)
        for name in Chunks.__slots__:
            np.testing.assert_array_equal(getattr(part, name), getattr(alone, name), err_msg=name)


def test_chunks_stand_before_bos_oldest_first_and_padding_on_the_right() -> None:
    chunks, events, _ = made([70, 0, 3])
    codes = np.array([[50, 1, 2], [50, 51, 51], [50, 9, 51]])
    history = {
        name: codes + add
        for name, add in (("items", 0), ("actions", 100), ("gaps", 200), ("times", 300), ("query_times", 400))
    }
    placed, lengths = chunks.place(history, np.array([3, 1, 2]), KNOWN)
    assert placed["items"].tolist() == [[52, 52, 50, 1, 2], [50, 51, 51, 51, 51], [52, 50, 9, 51, 51]]
    assert lengths.tolist() == [5, 1, 3]
    assert placed["actions"][0].tolist() == [0, 0, 150, 101, 102]
    newest = events.times[[5, 69, 72]]
    assert placed["times"][0].tolist() == [*newest[:2], 350, 301, 302]
    assert placed["query_times"][2, :3].tolist() == [newest[2], 450, 409]
    assert chunks.tokens(5)["older_at"].tolist() == [0, 1, 10]


@pytest.fixture
def long(make_dataset: MakeDataset) -> Features:
    dataset, split = make_dataset([[0, 1, 2, 3, 0, 1]] * 3)
    spec = FeatureSpec.model_validate({"history": {"length": 3, "older": 100}})
    return fit_features(spec, dataset, split)  # type: ignore[arg-type]


def test_what_is_before_the_newest_events_is_read_in_chunks(long: Features) -> None:
    times = np.arange(8) * 60_000_000
    encoded = long.encode_history([f"i{n % 4}" for n in range(8)], ["click"] * 8, times)
    assert len(encoded.newest.items) == 3
    assert encoded.chunked is not None
    every = long.item_vocabulary.codes([f"i{n % 4}" for n in range(8)])
    assert encoded.chunked.items.tolist() == every[:5]
    assert encoded.chunked.times.tolist() == times[:5].tolist()
    tokens = long.lay_out(encoded, times[-1:])
    assert tokens.items.tolist() == [[long.history_inputs().chunk, long.history_inputs().bos, *every[5:]]]
    chunks = tokens.chunks
    assert chunks is not None
    gap = int(long.gap_codes(np.array([60_000_000]))[0])
    assert chunks.gaps[0, [0, gap]].tolist() == pytest.approx([0.2, 0.8])
    cut = long.encode_history(["i0"] * 500, [], np.arange(500)).chunked
    assert cut is not None
    assert len(cut.items) == 100
    short = long.encode_history(["i0"] * 2, [], np.arange(2)).chunked
    assert short is not None
    assert not len(short.items)


def test_features_without_it_stay_what_they_were(make_dataset: MakeDataset, tmp_path: Path) -> None:
    """The same codes, and nothing new is written down: versions made before it keep their fingerprint."""
    dataset, split = make_dataset([[0, 1, 2]] * 3)
    off, on = (
        fit_features(FeatureSpec.model_validate({"history": {"older": older}}), dataset, split)  # type: ignore[arg-type]
        for older in (0, 64)
    )
    off.save(tmp_path)
    assert json.loads((tmp_path / "features.json").read_text())["spec"]["history"].keys() == {
        "length",
        "actions",
        "time",
    }
    assert Features.load(tmp_path).fingerprint == off.fingerprint
    assert on.fingerprint != off.fingerprint
    assert off.encode_history(["i0"] * 900, [], np.arange(900)).chunked is None
    assert off.history_inputs().items_cardinality == on.history_inputs().items_cardinality - 1
