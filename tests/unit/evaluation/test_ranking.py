"""Ranks against a slow reference that looks at one candidate after another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from retrieval.data.corpus import Seen
from retrieval.data.corpus.alike import open_alike
from retrieval.errors import DataError
from retrieval.evaluation import ranking
from retrieval.evaluation.metrics import UNREACHABLE
from retrieval.evaluation.ranking import make_task, rank_targets
from retrieval.types import HOUR_US
from tests.corpora import ONE_US, engaged_corpus, fixed_corpus


def slow_rank(scores: Any, target: int, allowed: set[int]) -> int:
    if target not in allowed:
        return UNREACHABLE
    return sum(not scores[item] < scores[target] for item in allowed if item != target)


@pytest.mark.parametrize("seen", [Seen(allowed=True), Seen(), Seen(hours=4 / HOUR_US)])
@pytest.mark.parametrize("only_known", [True, False])
@pytest.mark.parametrize("seed", range(15))
def test_ranks_and_lists_match_the_reference(
    make_histories: Any, monkeypatch: pytest.MonkeyPatch, *, seen: Seen, only_known: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    monkeypatch.setattr(ranking, "_HISTORY_EVENTS", 6)  # many small blocks
    count = int(random.integers(2, 9))
    sequences = [random.integers(0, count, random.integers(0, 7)).tolist() for _ in range(6)] + [[0]]
    events = sum(map(len, sequences))
    times = random.integers(0, 20, events)
    histories = make_histories(sequences, count, times=times)
    targets = np.sort(random.choice(events, random.integers(1, events + 1), replace=False))
    candidates = random.random(count) < 0.7
    candidates[random.integers(count)] = True
    scores = random.integers(0, 4, (len(targets), count)).astype(np.float32)  # ties
    scores[random.random(scores.shape) < 0.1] = np.nan
    if only_known:
        corpus = engaged_corpus(
            histories, candidates, refresh_minutes=ONE_US, allow_seen=seen.allowed, seen_hours=seen.hours
        )
        if not any(corpus.items_at(at).any() for at in times[targets].tolist()):
            with pytest.raises(DataError, match="no item can be retrieved"):
                make_task(histories, targets, corpus)
            return
    else:
        corpus = fixed_corpus(candidates, allow_seen=seen.allowed, seen_hours=seen.hours)
    task = make_task(histories, targets, corpus)
    columns = task.columns
    assert candidates[columns].all()
    found = rank_targets(task, lambda part: scores[part][:, columns].copy())
    distinct = random.permuted(np.tile(np.arange(count, dtype=np.float32), (len(targets), 1)), axis=1)
    distinct[np.isnan(scores)] = np.nan
    lists = rank_targets(task, lambda part: distinct[part][:, columns].copy(), [1, 3])

    shown = {1: [0] * count, 3: [0] * count}
    for position, row in enumerate(targets):
        user = int(np.searchsorted(histories.offsets, row, side="right")) - 1
        allowed = set(np.flatnonzero(candidates).tolist())
        if not seen.allowed:
            before = range(histories.offsets[user], row)
            allowed -= {int(histories.items[i]) for i in before if seen.hours is None or times[i] >= times[row] - 4}
        if only_known:
            allowed = {i for i in allowed if (times[histories.items == i] < times[row]).any()}
        assert found.ranks[position] == slow_rank(scores[position], int(histories.items[row]), allowed)
        line = distinct[position]
        ordered = sorted((i for i in allowed if not np.isnan(line[i])), key=lambda i: -line[i])
        for k, counts in shown.items():
            for item in ordered[:k]:
                counts[item] += 1
    for k, counts in shown.items():
        assert lists.shown[k].tolist() == [counts[i] for i in columns]


@pytest.mark.parametrize("allow_seen", [True, False])
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_what_is_alike_to_the_newest_events_is_left_out(
    make_histories: Any, monkeypatch: pytest.MonkeyPatch, *, allow_seen: bool, fresh: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    monkeypatch.setattr(ranking, "_HISTORY_EVENTS", 6)
    sequences = [random.integers(0, 9, random.integers(1, 7)).tolist() for _ in range(6)]
    times = random.integers(0, 20, sum(map(len, sequences)))
    histories = make_histories(sequences, 9, times=times)
    series = [None if n == 4 else n % 3 for n in range(9)]
    families = [[f"f{n % 4}", f"f{n % 5}"][: n % 3] for n in range(9)]
    items = pa.table({"item_id": range(9), "series": series, "family": families})
    asked = {"allow_seen": allow_seen, "seen_by": ("series", "family"), "seen_by_events": 2}
    candidates = np.arange(9) != 7
    if fresh:
        corpus = engaged_corpus(histories, candidates, refresh_minutes=ONE_US, **asked)
    else:
        corpus = fixed_corpus(candidates, **asked)
    corpus = replace(corpus, alike=open_alike(items, asked["seen_by"]))
    targets = np.arange(len(times))
    if fresh:
        targets = targets[[corpus.items_at(at).any() for at in times.tolist()]]
    task = make_task(histories, targets, corpus)
    scores = np.tile(np.arange(9, dtype=np.float32), (len(targets), 1))
    found = rank_targets(task, lambda part: scores[part][:, task.columns].copy())
    for position, row in enumerate(targets):
        start = histories.offsets[int(np.searchsorted(histories.offsets, row, side="right")) - 1]
        held = set(np.flatnonzero(corpus.items_at(int(times[row])) if fresh else candidates).tolist())
        near = set(histories.items[max(start, row - 2) : row].tolist()) & held
        allowed = {
            item
            for item in held
            if not any({series[item]} & {series[one]} - {None} or {*families[item]} & {*families[one]} for one in near)
        }
        if not allow_seen:
            allowed -= set(histories.items[start:row].tolist())
        assert found.ranks[position] == slow_rank(scores[position], int(histories.items[row]), allowed)


def test_a_target_that_ties_with_all_is_last(make_histories: Any) -> None:
    task = make_task(make_histories([[0]], 5), np.array([0]), fixed_corpus(np.ones(5)))
    for value in (0.0, np.nan):
        line = np.full((1, 5), value, np.float32)
        assert rank_targets(task, lambda _, line=line: line.copy()).ranks.tolist() == [4]


def test_blocks_stay_within_memory(make_histories: Any) -> None:
    histories = make_histories([[0, 1]] * 500, 3000)
    task = make_task(histories, np.arange(1000), fixed_corpus(np.ones(3000)), block_mb=1)
    widths = []

    def score(part: slice) -> Any:
        widths.append(part.stop - part.start)
        return np.zeros((part.stop - part.start, 3000), np.float32)

    rank_targets(task, score)
    assert sum(widths) == 1000
    assert max(widths) * 3000 * 4 <= 1 << 20


@pytest.mark.parametrize(
    ("targets", "candidates", "message"),
    [
        ([], [True] * 3, "no targets"),
        ([9], [True] * 3, "event rows below 2"),
        ([0], [False] * 3, "no item can be retrieved"),
        ([0], [True] * 4, r"a corpus of 3 items, found one of \[4\]"),
    ],
)
def test_wrong_arguments_are_refused(make_histories: Any, targets: Any, candidates: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_task(make_histories([[0, 1]], 3), np.array(targets, np.int64), fixed_corpus(np.array(candidates)))
