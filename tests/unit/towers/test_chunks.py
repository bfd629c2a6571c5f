"""Chunks of older events, from raw histories to embeddings, trained and served."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval.data import Dataset
from retrieval.features import BLOCK, FeatureSpec, HistoryTokens
from retrieval.storage import ArtifactStore
from retrieval.towers.chunks import block_means, with_chunks
from retrieval.towers.config import TowerConfig
from retrieval.towers.encoders import ENCODERS
from retrieval.towers.offline import item_inputs
from retrieval.towers.pair import TowerPair
from retrieval.towers.runtime import UserTower, load_user_tower
from retrieval.towers.user_input import History, UserInput
from retrieval.training.sequences import SequenceReader, Windows
from retrieval.training.vectors import PairVectors
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.user_inputs import inputs_at
from tests.tiny import TINY_FEATURES, TINY_TOWERS, Tiny, tiny_dataset, tiny_version

AT = 1_702_000_000_000_000
HOUR = 3_600_000_000


def spec(length: int, older: int) -> FeatureSpec:
    return FeatureSpec.model_validate({**TINY_FEATURES.model_dump(), "history": {"length": length, "older": older}})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return tiny_dataset(tmp_path_factory.mktemp("older"), users=12, events=900)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    folder = tmp_path_factory.mktemp("older-store")
    return ArtifactStore.create(str(folder / "store"), cache=folder / "cache")


@pytest.fixture(scope="module")
def made(dataset: Dataset, store: ArtifactStore) -> Tiny:
    return tiny_version(store, ModelVersion("older", 1), dataset, spec=spec(12, 20_000))


@pytest.fixture(scope="module")
def tower(store: ArtifactStore, made: Tiny) -> UserTower:
    return load_user_tower(store, made.version)


def user(events: int, changed: int | None = None) -> UserInput:
    """Somebody with so many events, an hour apart; `changed` is how many events back one is of another item."""
    items = [f"i{n * n % 40}" for n in range(events)]
    if changed is not None:
        items[-changed] = "i39" if items[-changed] != "i39" else "i38"
    return UserInput(History(items, ["click"] * events, AT - np.arange(events, 0, -1) * HOUR), {}, {}, AT)


@pytest.mark.parametrize("encoder", sorted(ENCODERS.named))
@pytest.mark.parametrize("older", [64, 500])
def test_what_is_served_is_what_was_trained(dataset: Dataset, encoder: str, older: int, tmp_path: Path) -> None:
    own = ArtifactStore.create(str(tmp_path / "store"), cache=tmp_path / "cache")
    towers = TowerConfig.model_validate({**TINY_TOWERS.model_dump(), "encoder": encoder})
    made = tiny_version(own, ModelVersion("golden", 1), dataset, towers=towers, seed=3, spec=spec(12, older))
    begin = np.asarray(dataset.histories.offsets[:-1])
    back = np.array([0, 1, 12, 13, 76, 77, 300])  # short histories, and the borders of chunks
    rows = np.unique(np.concatenate([made.split.test, made.split.valid, begin[0] + back, begin[5] + back]))
    items = item_inputs(dataset, made.features, dataset.histories.last_us)
    trained = PairVectors(dataset, made.features, items).users(made.pair, rows)  # type: ignore[arg-type]
    served = load_user_tower(own, made.version).embed(inputs_at(dataset, made.features, rows))
    np.testing.assert_allclose(served, trained, rtol=0, atol=1e-5)


def test_an_event_ten_thousand_back_counts_where_older_events_are_read(
    dataset: Dataset, tower: UserTower, tmp_path: Path
) -> None:
    plain, other = tower.embed([user(16_000), user(16_000, changed=10_000)])
    assert np.abs(plain - other).max() > 1e-6
    own = ArtifactStore.create(str(tmp_path / "store"), cache=tmp_path / "cache")
    without = load_user_tower(own, tiny_version(own, ModelVersion("short", 1), dataset, spec=spec(12, 0)).version)
    np.testing.assert_array_equal(*without.embed([user(16_000), user(16_000, changed=10_000)]))


def test_events_before_those_that_are_read_do_not_count(tower: UserTower) -> None:
    whole = user(30_000)
    history = whole.history
    newest = History(history.item_ids[-20_012:], history.actions[-20_012:], history.timestamps[-20_012:])
    np.testing.assert_array_equal(tower.embed([whole]), tower.embed([replace(whole, history=newest)]))


def test_a_batch_of_mixed_lengths_gives_what_single_calls_give(tower: UserTower) -> None:
    users = [user(n) for n in (0, 3, 12, 13, 12 + BLOCK, 13 + BLOCK, 40, 5000, 5, 900)]
    singles = np.concatenate([tower.embed([given]) for given in users])
    np.testing.assert_allclose(tower.embed(users), singles, rtol=0, atol=1e-6)
    np.testing.assert_allclose(tower.embed(users[:3]), singles[:3], rtol=0, atol=1e-6)  # none of whom has chunks


@pytest.mark.parametrize("encoder", sorted(ENCODERS.named))
def test_nothing_sees_what_comes_after_it(dataset: Dataset, encoder: str) -> None:
    """States up to a chunk stay when anything after that chunk changes, times included; the ones after it change."""
    from retrieval.data import leave_one_out
    from retrieval.features import fit_features
    from retrieval.towers.pair import build_pair

    features = fit_features(spec(12, 500), dataset, leave_one_out(dataset.histories))
    pair = build_pair(TowerConfig.model_validate({**TINY_TOWERS.model_dump(), "encoder": encoder}), features, 0).eval()
    with torch.no_grad():
        for weights in pair.parameters():  # biases that are 0 at first would hide what times do
            weights.add_(0.05 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(1)))
    user = int(np.argmax(np.diff(dataset.histories.offsets)))
    start = int(dataset.histories.offsets[user]) + 300
    windows = Windows(*(np.array([value]) for value in (user, start, start + 12)), np.zeros(1, np.bool_))
    history = SequenceReader(dataset.histories, features).read(windows, np.arange(1)).history
    assert history.chunks is not None
    assert history.chunks.number.tolist() == [2, 1, 0]
    assert history.items[0, 3] == features.history_inputs().bos
    assert history.query_times[0, :3].tolist() == history.times[0, :3].tolist()  # a chunk knows no later moment either

    def states(history: HistoryTokens) -> torch.Tensor:
        assert history.chunks is not None
        with torch.no_grad():
            table = pair.token_table(item_inputs(dataset, features, 0).codes(torch.arange(pair.item.codes)))
            codes = [torch.from_numpy(part) for part in (history.items, history.actions, history.gaps)]
            tokens = with_chunks(
                pair.user,
                pair.user.tokens(table, *codes),
                table,
                torch.from_numpy(history.chunks.items),
                history.chunks,
            )
            return pair.user.states(tokens, torch.from_numpy(history.times), torch.from_numpy(history.query_times))[0]

    before = states(history)
    last = slice(int(history.chunks.starts[2]), None)  # the events of the nearest chunk
    items, times, query_times = history.chunks.items.copy(), history.times.copy(), history.query_times.copy()
    items[last] = (items[last] + 7) % pair.item.codes
    times[:, 2:], query_times[:, 2:] = times[:, 2:] + 40 * HOUR, query_times[:, 2:] + 90 * HOUR
    after = states(replace(history, chunks=replace(history.chunks, items=items), times=times, query_times=query_times))
    torch.testing.assert_close(after[:2], before[:2], rtol=0, atol=0)
    assert (after[2:] - before[2:]).abs().amax(1).min() > 1e-6


def test_a_chunk_is_the_mean_of_its_events_tokens(dataset: Dataset, made: Tiny) -> None:
    """Against one event at a time, in float64; training's bag and the served blocks alike."""
    pair, features = made.pair, made.features
    assert isinstance(pair, TowerPair)
    user = int(np.argmax(np.diff(dataset.histories.offsets)))
    start = int(dataset.histories.offsets[user]) + 300
    windows = Windows(*(np.array([value]) for value in (user, start, start + 5)), np.zeros(1, np.bool_))
    history = SequenceReader(dataset.histories, features).read(windows, np.arange(1)).history
    chunks = history.chunks
    assert chunks is not None
    with torch.no_grad():
        table = pair.token_table(item_inputs(dataset, features, 0).codes(torch.arange(pair.item.codes)))
        codes = [torch.from_numpy(part) for part in (history.items, history.actions, history.gaps)]
        mark = pair.user.tokens(table, *codes)
        found = with_chunks(pair.user, mark, table, torch.from_numpy(chunks.items), chunks)[0]
        rows, histories = range(start - 300, start), dataset.histories
        items, actions = (torch.from_numpy(np.array(column)) for column in _codes(dataset, made, rows))
        times = np.asarray(histories.timestamps[rows.start : rows.stop])
        gaps = torch.from_numpy(np.append(0, features.gap_codes(np.diff(times))))
        one_by_one = pair.user.tokens(table, items[None], actions[None], gaps[None])[0].double()
        mark_alone = table[-1] + pair.user.actions.weight[0] + pair.user.gaps.weight[0]
        for column, (first, last) in enumerate([(0, 300 - 192), (300 - 192, 300 - 64), (300 - 64, 300)]):
            number = 2 - column
            want = one_by_one[first:last].mean(0) + pair.user.chunks.weight[number] + mark_alone
            torch.testing.assert_close(found[column].double(), want, rtol=0, atol=1e-6)
        table[features.history_inputs().pad] = 0.0
        blocks = [torch.from_numpy(part) for part in (*chunks.blocks(features.history_inputs().pad), chunks.sizes)]
        bag = torch.nn.functional.embedding_bag(
            torch.from_numpy(chunks.items), table, torch.from_numpy(chunks.starts), mode="mean"
        )
        torch.testing.assert_close(block_means(table, *blocks), bag, rtol=0, atol=1e-6)
    torch.testing.assert_close(found[3:], mark[0, 3:], rtol=0, atol=0)


def _codes(dataset: Dataset, made: Tiny, rows: range) -> tuple[list[int], list[int]]:
    """Codes of some events' items and actions, looked up one at a time."""
    histories = dataset.histories
    items = [made.features.item_vocabulary.code(str(histories.item_ids[int(histories.items[row])])) for row in rows]
    actions = [made.features.actions.code(histories.action_names[histories.actions[row]]) for row in rows]
    return items, actions
