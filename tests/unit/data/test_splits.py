from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from retrieval.data import (
    DataConfig,
    Histories,
    Split,
    SplitConfig,
    build_histories,
    by_time,
    leave_one_out,
    make_split,
    splits,
)
from retrieval.data.facts.ranges import row_blocks
from retrieval.data.splits import evenly_spaced, through_validation
from retrieval.errors import ConfigError, DataError

Event = tuple[int, int, str]
HOUR = 3_600_000_000
EVENTS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 30), st.sampled_from(["save", "view"])), min_size=1, max_size=40
)


def histories_of(root: Path, events: list[Event]) -> Histories:
    table = pa.table(
        {
            "user_id": [user for user, _, _ in events],
            "item_id": list(range(len(events))),
            "timestamp": [time for _, time, _ in events],
            "action": [action for _, _, action in events],
        }
    )
    pq.write_table(table, root / "events.parquet")
    return build_histories(DataConfig(events="events.parquet", timestamp_unit="s"), root, root / "h", show=False)


def check_no_leak(histories: Histories, split: Split) -> None:
    train = np.zeros(histories.events, np.bool_)
    for user, end in enumerate(split.train_end):
        assert histories.offsets[user] <= end <= histories.offsets[user + 1]
        train[histories.offsets[user] : end] = True
    assert not train[split.valid].any()
    assert not train[split.test].any()
    assert not set(split.valid) & set(split.test)
    assert (np.diff(split.valid) > 0).all()
    assert (np.diff(split.test) > 0).all()


@given(events=EVENTS, positive=st.sampled_from([(), ("save",)]))
@settings(max_examples=40)
def test_leave_one_out(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event], positive: tuple[str, ...]
) -> None:
    histories = histories_of(tmp_path_factory.mktemp("loo"), events)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "row_blocks", lambda offsets: row_blocks(offsets, 7))
        split = leave_one_out(histories, positive_actions=positive)
    check_no_leak(histories, split)
    ends, valid, test = [], [], []
    for user in range(histories.users):
        rows = range(histories.offsets[user], histories.offsets[user + 1])
        targets = [r for r in rows if not positive or histories.action_names[histories.actions[r]] in positive]
        if len(targets) < 3:
            ends.append(rows.stop)
            continue
        ends.append(targets[-2])
        valid.append(targets[-2])
        test.append(targets[-1])
    assert (split.train_end.tolist(), split.valid.tolist(), split.test.tolist()) == (ends, valid, test)
    wider = through_validation(split, histories)
    check_no_leak(histories, wider)
    assert (wider.valid.tolist(), wider.test.tolist()) == ([], test)
    held = dict(zip(histories.users_of(split.test).tolist(), test, strict=True))
    assert wider.train_end.tolist() == [held.get(user, end) for user, end in enumerate(ends)]


@given(events=EVENTS, cuts=st.lists(st.integers(1, 35), min_size=3, max_size=3, unique=True))
@settings(max_examples=40)
def test_by_time(tmp_path_factory: pytest.TempPathFactory, events: list[Event], cuts: list[int]) -> None:
    histories = histories_of(tmp_path_factory.mktemp("time"), events)
    valid_from, test_from, until = (cut * 1_000_000 for cut in sorted(cuts))
    times = histories.timestamps
    saved = np.array([name == "save" for name in histories.action_names])[histories.actions]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "row_blocks", lambda offsets: row_blocks(offsets, 5))
        if not (times < valid_from).any() or not (saved & (times >= test_from) & (times < until)).any():
            with pytest.raises(DataError, match=r"data\.split"):
                by_time(histories, valid_from, test_from, until, positive_actions=["save"])
            return
        split = by_time(histories, valid_from, test_from, until, positive_actions=["save"])
    check_no_leak(histories, split)
    train = np.concatenate([np.arange(s, e) for s, e in zip(histories.offsets, split.train_end, strict=False)])
    assert train.tolist() == np.flatnonzero(times < valid_from).tolist()
    assert split.valid.tolist() == np.flatnonzero(saved & (times >= valid_from) & (times < test_from)).tolist()
    assert split.test.tolist() == np.flatnonzero(saved & (times >= test_from) & (times < until)).tolist()
    wider = through_validation(split, histories)
    check_no_leak(histories, wider)
    train = np.concatenate([np.arange(s, e) for s, e in zip(histories.offsets, wider.train_end, strict=False)])
    assert train.tolist() == np.flatnonzero(times < test_from).tolist()
    assert (wider.valid.tolist(), wider.test.tolist()) == ([], split.test.tolist())


def test_the_settings_choose_the_split(tmp_path: Path) -> None:
    events = [(user, hour * 3600, "save") for user in range(3) for hour in range(0, 100, 5)]
    histories = histories_of(tmp_path, events)
    assert make_split(DataConfig(), histories).name == "leave_one_out"
    last = histories.last_us
    timed = make_split(DataConfig(split=SplitConfig(method="time", valid_hours=10, test_hours=20)), histories)
    assert histories.timestamps[timed.test].min() == last - 15 * HOUR
    assert histories.timestamps[timed.valid].min() == last - 25 * HOUR
    fixed = SplitConfig(method="time", valid_from="1970-01-02", test_from="1970-01-03", test_until="1970-01-04")
    timed = make_split(DataConfig(split=fixed), histories)
    assert histories.timestamps[timed.valid].min() >= 24 * HOUR
    assert histories.timestamps[timed.test].min() >= 48 * HOUR
    assert histories.timestamps[timed.test].max() < 72 * HOUR
    with pytest.raises(ConfigError, match=r"'buy' not among the actions of the events: save"):
        make_split(DataConfig(positive_actions=("buy",)), histories)
    with pytest.raises(ConfigError, match="must follow one another"):
        make_split(DataConfig(split=SplitConfig(method="time", valid_from="1990-01-01")), histories)


def test_settings_that_can_not_be(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="follow one another"):
        SplitConfig(valid_from="2024-01-02", test_from="2024-01-01")
    with pytest.raises(ValidationError, match="valid_from"):
        SplitConfig(valid_from="soon")
    with pytest.raises(ValidationError, match="columns used for two things: user_id"):
        DataConfig(item_column="user_id")


def test_evenly_spaced_rows_reach_from_the_first_to_the_last() -> None:
    rows = np.arange(100, 200)
    assert evenly_spaced(rows, 100) is rows
    assert evenly_spaced(rows[:0], 3).tolist() == []
    assert evenly_spaced(rows, 4).tolist() == [100, 133, 166, 199]
