from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from retrieval.evaluation import EvaluationConfig
from retrieval.evaluation.baselines import make_baseline, repurchase
from retrieval.evaluation.ranking import make_task
from tests.corpora import fixed_corpus

DAY = 86_400_000_000


def scores_of(name: str, histories: Any, targets: Any) -> Any:
    task = make_task(histories, np.array(targets), fixed_corpus(np.ones(len(histories.item_ids)), allow_seen=True))
    scorer = make_baseline(name, task, np.asarray(histories.offsets[1:]), EvaluationConfig())
    return scorer(slice(0, len(targets)))


def slow(histories: Any, row: int, line: Any) -> Any:
    """The definition, event by event, upon the line of co-visitation."""
    first = int(histories.offsets[np.searchsorted(histories.offsets, row, side="right") - 1])
    now = histories.timestamps[row]
    past, basket = np.zeros(len(line)), set()
    for other in range(first, row):
        days = (now - histories.timestamps[other]) / DAY
        if days > 0:
            past[histories.items[other]] += 0.5 ** (days / 60)
        else:
            basket.add(histories.items[other])
    out = line + 0.02 * np.log(1 + past)
    out[list(basket)] = -1
    return out


@pytest.mark.parametrize("seed", range(3))
def test_repurchase_is_the_slow_one(make_histories: Any, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(repurchase, "_LINES", 3)
    random = np.random.default_rng(seed)
    lengths = random.integers(0, 12, 8)
    times = np.concatenate([np.sort(random.integers(0, 6, length)) * 30 * DAY for length in lengths])
    histories = make_histories([random.integers(0, 7, length).tolist() for length in lengths], 8, times=times.tolist())
    targets = np.arange(len(histories.items))
    together = scores_of("covisitation", histories, targets)
    found = scores_of("repurchase", histories, targets)
    expected = [slow(histories, row, together[row]) for row in targets]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_what_was_bought_before_comes_back_and_what_lies_in_the_basket_does_not(make_histories: Any) -> None:
    histories = make_histories([[3, 1, 1, 0, 2], [0, 2]], 5, times=[0, 0, DAY, 9 * DAY, 9 * DAY, 0, 1])
    (line,) = scores_of("repurchase", histories, [4])
    assert line[0] == -1
    assert line[1] > line[3] > line[4]
