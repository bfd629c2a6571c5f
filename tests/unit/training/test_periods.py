"""Windows by time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retrieval.data import Dataset, Split, activity_of
from retrieval.data.facts.training import target_rows
from retrieval.features import Features
from retrieval.training.config import MoreNegatives, NegativesConfig, TrainingConfig
from retrieval.training.periods import PeriodShares, cut_periods, order_periods
from retrieval.training.sequences import SequenceReader

HOUR = 3_600_000_000


@pytest.mark.parametrize("size", [2, 5, 40])
@pytest.mark.parametrize("hours", [1, 48, 10_000])
def test_every_training_event_is_a_target_once_in_its_own_period(
    dataset: Dataset, split: Split, features: Features, size: int, hours: int
) -> None:
    histories, period = dataset.histories, hours * HOUR
    windows = cut_periods(histories, split.train_end, size, period, offset_us=17, since_us=0)
    reader = SequenceReader(histories, features)
    targets = []
    for chosen in order_periods(windows, windows.lengths, 64, np.random.default_rng(0)):
        batch = reader.read(windows, chosen)
        times = histories.timestamps[batch.next_event]
        assert batch.at is not None
        assert ((times >= batch.at) & (times < batch.at + period)).all()
        assert (batch.history.items.shape[1] <= size) or len(chosen) == 1
        targets.append(batch.next_event)
    training = [row for user, end in enumerate(split.train_end) for row in range(histories.offsets[user], end)]
    assert sorted(np.concatenate(targets).tolist()) == training
    assert (windows.lengths <= size).all()


def test_only_recent_events_are_targets_but_older_ones_stay_history(dataset: Dataset, split: Split) -> None:
    histories = dataset.histories
    since = int(np.median(histories.timestamps))
    windows = cut_periods(histories, split.train_end, 20, 24 * HOUR, offset_us=0, since_us=since)
    assert windows.fresh is not None
    assert (histories.timestamps[windows.fresh] >= since).all()
    assert (histories.timestamps[windows.start] < since).any()


def test_shares_are_those_of_the_period(dataset: Dataset, split: Split, tmp_path: Path) -> None:
    """Times of the targets are asked to the second, and these periods begin at whole ones."""
    histories = dataset.histories
    every = np.arange(len(histories.item_ids))
    rows = np.concatenate(list(target_rows(histories, split.train_end, ("save",))))
    times, items = histories.timestamps[rows], histories.items[rows]
    shares = PeriodShares(activity_of(tmp_path / "targets.npy", histories, lambda: iter([rows])), every, 48 * HOUR)
    assert shares.share(every).sum() == 0
    for at in (int(times.min()), int(times.max()) - 24 * HOUR, int(times.max()) + HOUR):
        shares.observe(items[:3], at)
        counts = np.bincount(items[(times >= at) & (times < at + 48 * HOUR)], minlength=len(every))
        np.testing.assert_allclose(shares.share(every), counts / max(counts.sum(), 1))


def test_a_streaming_estimate_is_of_other_periods() -> None:
    streaming = NegativesConfig(correction="streaming")
    assert TrainingConfig(windows="all", negatives=streaming).negatives == streaming
    with pytest.raises(ValueError, match='its correction is "counts"'):
        TrainingConfig(windows="by_time", negatives=streaming)


@pytest.mark.parametrize(
    "negatives",
    [NegativesConfig(memory=64), NegativesConfig(more=(MoreNegatives(source="memory", number=8),))],
)
def test_negatives_of_other_periods_are_refused(negatives: NegativesConfig) -> None:
    assert TrainingConfig(windows="all", negatives=negatives).negatives == negatives
    with pytest.raises(ValueError, match='"memory" come from batches of other periods'):
        TrainingConfig(windows="by_time", negatives=negatives)
