from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.data import DataConfig, open_dataset
from retrieval.data.config import iso_moment
from retrieval.data.reading.snapshot import snapshot_of
from retrieval.data.reading.until import event_files
from retrieval.data.reading.validation import validate_events
from retrieval.errors import DataError

START_S = 1_700_000_000


def write(root: Path, name: str, seconds: list[int], *, as_text: bool = False) -> None:
    folder = root / "data" / "events"
    folder.mkdir(parents=True, exist_ok=True)
    times = [START_S + second for second in seconds]
    users = [f"u{second % 3}" for second in seconds]
    items = [f"i{second % 5}" for second in seconds]
    written = [str(time) for time in times] if as_text else times
    pq.write_table(pa.table({"user_id": users, "item_id": items, "timestamp": written}), folder / name)


def before(second: int) -> DataConfig:
    return DataConfig(until=iso_moment((START_S + second) * 1_000_000))


def test_events_from_the_moment_on_are_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", [1, 2, 3, 4, 5, 6])
    report = validate_events(before(4), tmp_path, None)
    assert (report.rows, report.good, report.outside, report.rejected) == (6, 3, 3, {})
    histories = open_dataset(before(4), tmp_path, show=False).histories
    assert histories.events == 3
    assert histories.last_us == (START_S + 3) * 1_000_000


@pytest.mark.parametrize("as_text", [False, True])
def test_what_comes_in_later_changes_nothing_of_an_earlier_state(tmp_path: Path, as_text: bool) -> None:
    write(tmp_path, "a.parquet", [1, 2, 3], as_text=as_text)
    earlier = snapshot_of(before(4), tmp_path)
    write(tmp_path, "b.parquet", [4, 5], as_text=as_text)
    # text says nothing of its times: such a file is read, and part of the snapshot
    assert (snapshot_of(before(4), tmp_path) == earlier) is not as_text
    assert open_dataset(before(4), tmp_path, show=False).histories.events == 3


def test_the_moment_counts_only_where_it_leaves_something_out(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", [1, 2, 3])
    whole = snapshot_of(DataConfig(), tmp_path)
    assert snapshot_of(before(4), tmp_path) == whole
    assert len({whole, snapshot_of(before(3), tmp_path), snapshot_of(before(2), tmp_path)}) == 3
    assert "until" not in DataConfig().model_dump()


def test_implausible_times_are_refused_not_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", [1, 2])
    write(tmp_path, "b.parquet", [10**10])
    assert len(event_files(before(4), tmp_path).files) == 2
    report = validate_events(before(4), tmp_path, None)
    assert (report.good, report.outside, report.rejected) == (2, 0, {"timestamp is in the future": 1})


def test_before_the_first_event_there_is_nothing(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", [5])
    with pytest.raises(DataError, match=r"no event before data\.until"):
        open_dataset(before(5), tmp_path, show=False)
