"""The event log: what is recorded becomes segments that readers of the events find, each event once."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.data import item_activity, open_dataset
from retrieval.data.config import DataConfig
from retrieval.data.event_log.config import EventsConfig
from retrieval.data.event_log.event import Event
from retrieval.data.event_log.log import EventLog
from retrieval.data.event_log.segments import write_segment
from retrieval.errors import ConfigError, ConflictError, UnavailableError

AT = 1_700_000_000_000_000
SLOW = EventsConfig(segment_s=3600.0)
DATA = DataConfig(context_columns=("device",))
COLUMNS = ("user_id", "item_id", "timestamp", "action", "device")
_SEGMENT = "data/events/recorded/segment-{:012d}.parquet"


def event(name: str, user: str = "u", item: str = "i", at: int = AT, **more: object) -> Event:
    return Event(name, user, item, at, **more)  # type: ignore[arg-type]


def imported(root: Path, **columns: list[object] | pa.Array) -> None:
    rows = {"user_id": ["a"], "item_id": ["x"], "timestamp": pa.array([AT], pa.timestamp("us", "UTC"))}
    rows |= {"action": ["click"], "device": ["phone"]}
    folder = root / "data" / "events"
    folder.mkdir(parents=True)
    pq.write_table(pa.table(rows | columns), folder / "part-00000.parquet")


def recorded(root: Path) -> list[str]:
    """Ids of the events in segments, in their order."""
    files = sorted((root / "data" / "events" / "recorded").glob("*.parquet"))
    return [name for file in files for name in pq.read_table(file)["event_id"].to_pylist()]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    imported(tmp_path)
    return tmp_path


def test_recorded_events_are_read_with_those_imported(root: Path) -> None:
    with closing(EventLog(SLOW, DATA, root)) as log:
        log.append([event("1", "a", "y", AT + 5, action="save", context={"device": "desk"}), event("2", "b", "x")])
    found = open_dataset(DATA, root, show=False).histories
    assert found.events == 3
    assert found.user_ids.to_pylist() == ["a", "b"]
    assert sorted(found.action_names) == ["click", "save", "unknown"]
    assert found.timestamps[1] == AT + 5
    y = found.item_rows(pa.array(["y"], pa.large_string()))
    assert item_activity(found).counts(y, AT + 10, 10).tolist() == [1]  # what a refresh reads of items


def test_ids_and_times_are_kept_as_the_events_have_them(tmp_path: Path) -> None:
    imported(tmp_path, user_id=[7], item_id=[8], timestamp=[AT // 1_000_000])
    with closing(EventLog(SLOW, DATA, tmp_path)) as log:
        done = log.append([event("1", "7", "9", AT + 1_999_999), event("2", "seven", "9")])
    assert [(one.position, one.reason) for one in done.rejected] == [(1, "user is not an id")]
    assert done.rows.times.tolist() == [AT + 1_000_000]
    table = pq.read_table(tmp_path / _SEGMENT.format(1))
    assert table.drop(["event_id"]).to_pylist() == [
        {"user_id": 7, "item_id": 9, "timestamp": AT // 1_000_000 + 1, "device": None, "action": None}
    ]
    assert open_dataset(DATA, tmp_path, show=False).histories.user_ids.to_pylist() == ["7"]


def test_what_is_sent_again_is_recorded_once_before_and_after_a_segment_and_a_restart(root: Path) -> None:
    with closing(EventLog(SLOW, DATA, root)) as log:
        first = log.append([event("1"), event("2"), event("1")])
        assert first.new.tolist() == [True, True, False]
        assert not log.append([event("2")]).new.any()
        log.flush()
        assert log.append([event("2"), event("3")]).new.tolist() == [False, True]
    with closing(EventLog(SLOW, DATA, root)) as log:
        assert log.append([event("1"), event("3"), event("4")]).new.tolist() == [False, False, True]
    assert recorded(root) == ["1", "2", "3", "4"]


def test_ids_are_collected_from_the_segments_where_their_file_is_gone(root: Path) -> None:
    with closing(EventLog(SLOW, DATA, root)) as log:
        log.append([event("1")])
    shutil.rmtree(root / "data" / "event-log" / "ids")
    with closing(EventLog(SLOW, DATA, root)) as log:
        assert log.append([event("1"), event("2")]).new.tolist() == [False, True]


def test_bad_events_are_put_aside_with_reason_and_position_and_the_others_recorded(root: Path) -> None:
    bad = {
        1: (event(""), "event_id is empty"),
        2: (event("x" * 129), "event_id is longer than 128 bytes"),
        3: (event("3", user=" "), "user is empty"),
        4: (event("4", item=""), "item is empty"),
        5: (event("5", at=-1), "timestamp is negative"),
        6: (event("6", at=AT * 1000), "timestamp is in the future"),
        7: (event("7", at=2**64), "timestamp can't be read"),
        8: (event("8", user="\ud800"), "an id or the action is not valid Unicode"),
        9: (event("9", context={"device": 3}), "context 'device' is not of type string"),
    }
    given = [event("good"), *(one for one, _ in bad.values()), event("also", context={"device": "desk", "page": 1})]
    with closing(EventLog(SLOW, DATA, root)) as log:
        done = log.append(given)
    assert {one.position: one.reason for one in done.rejected} == {at: reason for at, (_, reason) in bad.items()}
    assert done.rows.positions.tolist() == [0, 10]
    assert done.ignored == ("page",)
    assert recorded(root) == ["good", "also"]
    lines = [json.loads(line) for line in (root / "data/rejects/recorded.jsonl").read_text().splitlines()]
    assert [line["reason"] for line in lines] == [reason for _, reason in bad.values()]
    assert lines[2]["user"] == " "


def test_the_rejects_file_is_put_aside_at_its_limit(root: Path) -> None:
    config = EventsConfig(segment_s=3600.0, rejects_mib=1)
    with closing(EventLog(config, DATA, root)) as log:
        for _ in range(4):
            log.append([event("", user="u" * 1000)] * 900)
    kept = sorted(path.name for path in (root / "data/rejects").glob("recorded*"))
    assert kept == ["recorded.1.jsonl", "recorded.jsonl"]


def test_segments_close_by_size_and_by_age(root: Path) -> None:
    with closing(EventLog(EventsConfig(segment_events=2, segment_s=3600.0), DATA, root)) as log:
        log.append([event("1"), event("2")])
        log.append([event("3")])
        log.flush()
    assert (root / _SEGMENT.format(2)).exists()
    with closing(EventLog(EventsConfig(segment_s=0.05), DATA, root)) as log:
        log.append([event("4")])
        path = root / _SEGMENT.format(3)
        while not path.exists():
            log._ended.wait(0.01)


def test_small_segments_are_merged_and_the_log_goes_on(root: Path) -> None:
    with closing(EventLog(SLOW, DATA, root)) as log:
        for number in range(40):
            log.append([event(str(number))])
            log.flush()
    assert (root / "data/events/recorded/segment-000000000001-000000000032.parquet").exists()
    shutil.rmtree(root / "data" / "event-log" / "ids")
    with closing(EventLog(SLOW, DATA, root)) as log:
        assert log.append([event("3"), event("39"), event("40")]).new.tolist() == [False, False, True]
    assert (root / _SEGMENT.format(41)).exists()
    assert open_dataset(DATA, root, show=False).histories.events == 42


def test_a_killed_process_leaves_its_journal_and_the_next_one_goes_on_with_it(root: Path) -> None:
    with closing(EventLog(SLOW, DATA, root)) as log:
        log.append([event("1")])
        left = root / "kept"
        shutil.copytree(root / "data", left / "data")
    with closing(EventLog(SLOW, DATA, left)) as log:
        assert log.append([event("1"), event("2")]).new.tolist() == [False, True]
    assert recorded(left) == ["1", "2"]


@pytest.mark.parametrize("step", ["write_segment", "ids", "unlink"])
def test_killed_while_a_segment_is_closed_no_event_is_lost_or_twice(
    root: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = root / "kept"
    log = EventLog(EventsConfig(segment_s=3600.0), DATA, root)
    with closing(log):
        log.append([event("1"), event("2")])
        with monkeypatch.context() as killed:
            copy = _copy_then_fail(root, left)
            where = {
                "write_segment": "retrieval.data.event_log.log.write_segment",
                "ids": "retrieval.data.event_log.known_ids.KnownIds.add",
                "unlink": "pathlib.Path.unlink",
            }
            killed.setattr(where[step], copy)
            with pytest.raises(UnavailableError):
                log.flush()
    with closing(EventLog(SLOW, DATA, left)) as log:
        assert log.append([event("2"), event("3")]).new.tolist() == [False, True]
    assert recorded(left) == ["1", "2", "3"]
    assert recorded(root) == ["1", "2"]  # the one that went on tried again


def _copy_then_fail(root: Path, left: Path) -> object:
    """In the place of a step: the folder as a process that is killed just before it leaves it."""

    def fail(*_: object, **__: object) -> None:
        if not left.exists():
            shutil.copytree(root / "data", left / "data", ignore=shutil.ignore_patterns("lock.mdb", ".lock"))
        raise OSError(5, "killed here")

    return fail


def test_columns_that_were_set_since_are_in_the_next_segment(root: Path) -> None:
    with closing(EventLog(SLOW, DataConfig(), root)) as log:
        log.append([event("1")])
        left = root / "kept"
        shutil.copytree(root / "data", left / "data")
    with closing(EventLog(SLOW, DATA, left)) as log:
        log.append([event("2", context={"device": "phone"})])
    assert "device" not in pq.read_schema(left / _SEGMENT.format(1)).names
    assert pq.read_table(left / _SEGMENT.format(2))["device"].to_pylist() == ["phone"]


def test_no_event_is_taken_while_segments_cannot_be_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("retrieval.data.event_log.log.write_segment", fails)
    with closing(EventLog(EventsConfig(segment_events=1, segment_s=3600.0), DATA, root)) as log:
        taken = 0
        while taken < 10 and _takes(log, event(str(taken))):
            taken += 1
        assert taken == 4
        monkeypatch.undo()
    assert recorded(root) == ["0", "1", "2", "3"]


def test_events_that_come_faster_than_segments_are_written_wait_for_them(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(path: Path, table: pa.Table) -> None:
        time.sleep(0.05)
        write_segment(path, table)

    monkeypatch.setattr("retrieval.data.event_log.log.write_segment", slowly)
    names = [f"e{number}" for number in range(12)]
    with closing(EventLog(EventsConfig(segment_events=1), DataConfig(), root)) as log:
        for name in names:
            log.append([event(name)])
    assert sorted(recorded(root)) == sorted(names)


def _takes(log: EventLog, one: Event) -> bool:
    try:
        log.append([one])
    except UnavailableError as error:
        assert "until segments can be written" in str(error)  # noqa: PT017
        return False
    return True


def test_one_process_records_at_a_time_and_only_into_a_folder(root: Path) -> None:
    with closing(EventLog(SLOW, DATA, root)), pytest.raises(ConflictError, match="events are being recorded"):
        EventLog(SLOW, DATA, root)
    with pytest.raises(ConfigError, match="a file"):
        EventLog(SLOW, DataConfig(events="data/events/part-00000.parquet"), root)


def test_without_events_the_log_begins_one(tmp_path: Path) -> None:
    with closing(EventLog(SLOW, DATA, tmp_path)) as log:
        log.append([event("1", action="click", context={"device": "phone"})])
    assert set(pq.read_schema(tmp_path / _SEGMENT.format(1)).names) == {*COLUMNS, "event_id"}
    assert open_dataset(DATA, tmp_path, show=False).histories.events == 1
