from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.data import Dataset, Split
from retrieval.data.facts.training import item_counts
from retrieval.features import CODES_AND_TIMES, Features, FeatureSpec, fit_features
from retrieval.training.sequences import SequenceReader, Windows, cut_windows, order_batches
from tests.tiny import TINY_FEATURES


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), min_size=1, max_size=12),
    st.integers(1, 13),
    st.integers(0, 2**20),
)
def test_windows_hold_every_training_event_once(users: list[tuple[int, int]], size: int, seed: int) -> None:
    sizes = np.array([train + rest for train, rest in users])
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    train_end = offsets[:-1] + np.array([train for train, _ in users])
    windows = cut_windows(offsets, train_end, size, np.random.default_rng(seed), everything=True)
    rows = [row for a, b in zip(windows.start, windows.stop, strict=True) for row in range(a, b)]
    assert sorted(rows) == [row for u, end in enumerate(train_end) for row in range(offsets[u], end)]
    assert windows.lengths.min(initial=1) >= 1
    assert windows.lengths.max(initial=0) <= size
    assert (windows.first == (windows.start == offsets[windows.user])).all()
    last = cut_windows(offsets, train_end, size, np.random.default_rng(seed), everything=False)
    assert last.stop.tolist() == [end for u, end in enumerate(train_end) if end > offsets[u]]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 200), st.integers(0, 99))
def test_batches_hold_every_window_once_within_the_budget(lengths: list[int], tokens: int, seed: int) -> None:
    sizes = np.array(lengths)
    batches = order_batches(sizes, tokens, np.random.default_rng(seed))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(sizes)))
    assert all(len(batch) == 1 or len(batch) * sizes[batch].max() <= tokens for batch in batches)


def test_little_of_a_batch_is_padding() -> None:
    sizes = np.random.default_rng(0).integers(1, 200, 3000)
    batches = order_batches(sizes, 6400, np.random.default_rng(1))
    padded = sum(len(batch) * int(sizes[batch].max()) for batch in batches)
    assert sizes.sum() / padded > 0.9


def test_a_batch_is_what_serving_would_encode(dataset: Dataset, split: Split, features: Features) -> None:
    histories = dataset.histories
    reader = SequenceReader(histories, features)
    size = features.spec.history.length + 1
    windows = cut_windows(
        np.asarray(histories.offsets), split.train_end, size, np.random.default_rng(0), everything=True
    )
    chosen = np.arange(len(windows))
    batch = reader.read(windows, chosen)
    for row in chosen:
        events = slice(int(windows.start[row]), int(windows.stop[row]) - 1)
        encoded = features.encode_history(
            histories.item_ids.take(histories.items[events]).to_pylist(),
            [histories.action_names[a] for a in histories.actions[events]],
            np.asarray(histories.timestamps[events]),
        )
        laid = features.lay_out(encoded, histories.timestamps[events.stop : events.stop + 1])
        length = int(laid.lengths[0])
        assert batch.history.lengths[row] == length
        for name in CODES_AND_TIMES:
            assert getattr(batch.history, name)[row, :length].tolist() == getattr(laid, name)[0].tolist(), name
        assert (batch.history.items[row, length:] == features.history_inputs().pad).all()
    assert batch.users.tolist() == windows.user.tolist()


def test_targets_are_the_next_events_and_history_starts_count_once(
    dataset: Dataset, split: Split, features: Features
) -> None:
    histories = dataset.histories
    offsets = np.asarray(histories.offsets)
    reader = SequenceReader(histories, features)
    windows = cut_windows(offsets, split.train_end, 5, np.random.default_rng(0), everything=True)
    batch = reader.read(windows, np.arange(len(windows)))
    assert (batch.next_event == windows.start[batch.position_row] + batch.position_column).all()
    # left out is only what BOS would have to foretell in the middle of a history
    assert batch.examples == int(windows.lengths.sum()) - int((~windows.first).sum())
    begins = batch.next_event == offsets[windows.user[batch.position_row]]
    assert ((batch.previous == -1) == begins).all() or (batch.previous[begins] == -1).all()
    assert (batch.previous[batch.position_column > 0] == batch.next_event[batch.position_column > 0] - 1).all()


def test_only_positive_actions_are_targets(dataset: Dataset, split: Split, features: Features) -> None:
    histories = dataset.histories
    windows = cut_windows(
        np.asarray(histories.offsets), split.train_end, 13, np.random.default_rng(0), everything=False
    )
    batch = SequenceReader(histories, features, ("save",)).read(windows, np.arange(len(windows)))
    assert {histories.action_names[a] for a in histories.actions[batch.next_event]} == {"save"}


def test_counts_are_those_of_the_training_window(dataset: Dataset, split: Split) -> None:
    histories = dataset.histories
    want = np.zeros(len(histories.item_ids), np.int64)
    saves = np.zeros_like(want)
    for user, end in enumerate(split.train_end):
        for row in range(histories.offsets[user], end):
            want[histories.items[row]] += 1
            saves[histories.items[row]] += histories.action_names[histories.actions[row]] == "save"
    assert item_counts(histories, split.train_end).tolist() == want.tolist()
    assert item_counts(histories, split.train_end, actions=("save",)).tolist() == saves.tolist()


def test_windows_of_nobody() -> None:
    windows = cut_windows(np.array([0, 0]), np.array([0]), 5, np.random.default_rng(0), everything=True)
    assert isinstance(windows, Windows)
    assert len(windows) == 0


@pytest.mark.parametrize("everything", [True, False])
def test_cuts_change_from_epoch_to_epoch(everything: bool) -> None:
    offsets = np.array([0, 100])
    cuts = {
        tuple(cut_windows(offsets, np.array([100]), 7, np.random.default_rng(s), everything=everything).start)
        for s in range(20)
    }
    assert len(cuts) > 1 if everything else len(cuts) == 1


def test_a_window_gets_what_is_before_it_in_chunks(dataset: Dataset, split: Split, long: Features) -> None:
    """Codes and chunks of every window are what serving would encode of the same events."""
    histories = dataset.histories
    offsets = np.asarray(histories.offsets)
    windows = cut_windows(offsets, split.train_end, 5, np.random.default_rng(0), everything=True)
    chosen = np.arange(len(windows))
    reader = SequenceReader(histories, long)
    batch = reader.read(windows, chosen)
    chunks, history = batch.history.chunks, batch.history
    assert chunks is not None
    assert history.items.shape[1] == reader.tokens(windows).max()
    mark = long.history_inputs().chunk
    for row in chosen:
        start, stop = int(windows.start[row]), int(windows.stop[row]) - 1
        begin = max(int(offsets[windows.user[row]]), start - long.spec.history.older)
        encoded = long.encode_history(
            histories.item_ids.take(histories.items[begin:stop]).to_pylist(),
            [histories.action_names[a] for a in histories.actions[begin:stop]],
            np.asarray(histories.timestamps[begin:stop]),
        )
        ahead, newest = int(begin < start), encoded.newest.items
        tokens = newest[len(newest) - (stop - start) :]
        size = ahead + 1 + stop - start
        assert size == reader.tokens(windows)[row]
        assert history.items[row, :size].tolist() == [*[mark] * ahead, long.history_inputs().bos, *tokens]
        assert history.times[row, ahead + 1 : size].tolist() == histories.timestamps[start:stop].tolist()
        chunk = np.flatnonzero(chunks.row == row)
        assert len(chunk) == ahead
        if ahead:
            first, count = int(chunks.starts[chunk[0]]), int(chunks.sizes[chunk[0]])
            codes = long.item_vocabulary.codes(histories.item_ids.take(histories.items[begin:start]).to_pylist())
            assert chunks.items[first : first + count].tolist() == codes
            assert history.times[row, 0] == histories.timestamps[start - 1]
    where = batch.position_row, batch.position_column
    np.testing.assert_array_equal(history.query_times[where], histories.timestamps[batch.next_event])
    short = SequenceReader(histories, fit_features(spec(5, 0), dataset, split)).read(windows, chosen)
    assert short.history.chunks is None
    np.testing.assert_array_equal(short.next_event, batch.next_event)


@pytest.fixture
def long(dataset: Dataset, split: Split) -> Features:
    return fit_features(spec(5, 20), dataset, split)


def spec(length: int, older: int) -> FeatureSpec:
    return FeatureSpec.model_validate({**TINY_FEATURES.model_dump(), "history": {"length": length, "older": older}})
