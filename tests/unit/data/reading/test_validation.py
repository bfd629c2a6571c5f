from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.data import DataConfig, build_histories
from retrieval.data.reading.schema import detect_unit, to_ids, to_micros
from retrieval.data.reading.validation import validate_events
from retrieval.errors import DataError

MOMENT = datetime(2024, 3, 1, 12, 30, tzinfo=UTC)
MICROS = int(MOMENT.timestamp()) * 1_000_000


def write(path: Path, **columns: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def check(root: Path, **columns: object) -> tuple[dict[str, int], list[dict[str, object]]]:
    write(root / "data" / "events" / "a.parquet", **columns)
    report = validate_events(DataConfig(), root, root / "rejects.parquet", batch_rows=3)
    assert report.rows == report.good + sum(report.rejected.values())
    rejects = pq.read_table(root / "rejects.parquet").to_pylist() if report.rejected else []
    assert len(rejects) == sum(report.rejected.values())
    return report.rejected, rejects


def test_each_flaw_has_its_reason_and_its_row(tmp_path: Path) -> None:
    rejected, rejects = check(
        tmp_path,
        user_id=["u", None, "", "  ", "x" * 10_000_000, "u", "u", "u", "u"],
        item_id=["i", "i", "i", "i", "i", None, "i", "i", "i"],
        timestamp=[1_700_000_000, 1, 1, 1, 1, 1, -5, 10**12, None],
    )
    assert rejected == {
        "user is empty": 3,
        "user is longer than 1024 bytes": 1,
        "item is empty": 1,
        "timestamp is negative": 1,
        "timestamp is in the future": 1,
        "timestamp is empty": 1,
    }
    assert [(r["row"], r["reason"]) for r in rejects][:2] == [(1, "user is empty"), (2, "user is empty")]
    assert {r["file"] for r in rejects} == {"a.parquet"}
    assert max(len(r["user"] or "") for r in rejects) == 1024


def test_numbers_that_are_no_ids_and_no_times(tmp_path: Path) -> None:
    rejected, _ = check(
        tmp_path,
        user_id=[1.0, float("nan"), 2.5, float("inf"), 3.0, 3.0],
        item_id=[1, 2, 3, 4, 5, 6],
        timestamp=[1.7e9, 1.7e9, 1.7e9, 1.7e9, float("nan"), float("inf")],
    )
    assert rejected == {
        "user is empty": 1,
        "user is not an id": 2,
        "timestamp is empty": 1,
        "timestamp can't be read": 1,
    }


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    raw = pa.array([b"good", b"\xff\xfe"], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    rejected, rejects = check(tmp_path, user_id=broken, item_id=["a", "b"], timestamp=[1, 2])
    assert rejected == {"user is not valid UTF-8": 1}
    assert rejects[0]["row"] == 1
    rejected, _ = check(tmp_path, user_id=["a", "b"], item_id=["a", "b"], timestamp=[1, 2], action=broken)
    assert rejected == {"action or context is not valid UTF-8": 1}
    assert build_histories(DataConfig(), tmp_path, tmp_path / "h", show=False).action_names == ("good",)


def test_unusual_types(tmp_path: Path) -> None:
    rejected, _ = check(
        tmp_path,
        user_id=pa.array([2**64 - 1, 1], pa.uint64()),
        item_id=pa.array([None, "i"], pa.string_view()),
        timestamp=pa.array(["1.5", "2"]).cast(pa.decimal128(10, 2)),
    )
    assert rejected == {"item is empty": 1}
    rejected, _ = check(tmp_path, user_id=pa.nulls(2), item_id=["a", "b"], timestamp=pa.nulls(2))
    assert rejected == {"user is empty": 2}


def test_ids_that_are_integers_in_one_file_and_text_in_another(tmp_path: Path) -> None:
    write(tmp_path / "data/events/a.parquet", user_id=[1, 2], item_id=[1, 1], timestamp=[1, 2])
    write(tmp_path / "data/events/b.parquet", user_id=["1", "x"], item_id=[1, 1], timestamp=[3, 4])
    histories = build_histories(DataConfig(), tmp_path, tmp_path / "h", show=False)
    assert histories.user_ids.to_pylist() == ["1", "2", "x"]
    assert histories.offsets.tolist() == [0, 2, 3, 4]


@given(
    users=st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=25),
    data=st.data(),
)
@settings(max_examples=60)
def test_rows_in_are_rows_out_and_rejects(
    tmp_path_factory: pytest.TempPathFactory, users: list[str | None], data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("rows")
    n = len(users)
    items = data.draw(st.lists(st.one_of(st.none(), st.text(max_size=2)), min_size=n, max_size=n))
    times = data.draw(st.lists(st.one_of(st.none(), st.integers(-(2**62), 2**62)), min_size=n, max_size=n))
    columns = {
        "user_id": pa.array(users, pa.string()),
        "item_id": pa.array(items, pa.string()),
        "timestamp": pa.array(times, pa.int64()),
    }
    rejected, rejects = check(root, **columns)
    bad = sum(rejected.values())
    assert len({r["row"] for r in rejects}) == bad
    good = [row for row in range(n) if row not in {r["row"] for r in rejects}]
    assert all((users[r] or "").strip() and (items[r] or "").strip() and (times[r] or 0) >= 0 for r in good)
    if good:
        histories = build_histories(DataConfig(), root, root / "h", show=False)
        assert (histories.events, histories.rows) == (len(good), n)
        assert dict(histories.rejected) == rejected
        assert pq.read_metadata(root / "h" / "rejects.parquet").num_rows == bad if bad else True
    else:
        with pytest.raises(DataError, match="none of its"):
            build_histories(DataConfig(), root, root / "h", show=False)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_units_are_told_from_the_magnitude(unit: str) -> None:
    factor = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    numbers = pa.array([None, -1, MICROS // 10**6 * factor, 2 * factor * 10**9, 10**9 * factor])
    assert detect_unit(numbers) == unit
    assert to_micros(numbers, unit).micros[2] == MICROS
    assert to_micros(numbers.cast(pa.string()), unit).micros[2] == MICROS
    stamps = pa.array([None, MOMENT], pa.timestamp(unit))
    assert to_micros(stamps, "s").micros[1] == MICROS
    assert to_micros(stamps.dictionary_encode(), "s").micros[1] == MICROS


def test_times_in_other_forms() -> None:
    text = ["2024-03-01T12:30:00", "2024-03-01 13:30:00+01:00", "2024-03-01", "yesterday", "", None, "2024-13-01"]
    times = to_micros(pa.array(text), "s")
    assert times.micros[:2].tolist() == [MICROS, MICROS]
    assert times.unreadable.tolist() == [False, False, False, True, False, False, True]
    assert times.missing.tolist() == [False, False, False, False, True, True, False]
    assert to_micros(pa.array([date(1970, 1, 2)]), "s").micros.tolist() == [86_400_000_000]
    aware = pa.array([MOMENT], pa.timestamp("ms", "America/New_York"))
    assert to_micros(aware, "s").micros.tolist() == [MICROS]
    assert to_micros(pa.array([1.5]), "s").micros.tolist() == [1_500_000]
    assert (to_micros(pa.array([2**62]), "s").micros > MICROS).all()
    with pytest.raises(DataError, match="bool"):
        to_micros(pa.array([True]), "s")


def test_text_can_fill_integer_ids_or_be_refused() -> None:
    ids = to_ids(pa.array(["12", "x", None, "007", "9" * 30]), "int")
    assert ids.values.to_pylist() == [12, None, None, 7, None]
    assert ids.not_id.tolist() == [False, True, False, False, True]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user_id": [1], "timestamp": [1]}, r"no column 'item_id' \(events\); its columns are: user_id, timestamp"),
        ({"user_id": [[1]], "item_id": [1], "timestamp": [1]}, "ids must be integers or text"),
        ({"user_id": [True], "item_id": [1], "timestamp": [1]}, "ids must be integers or text"),
        ({"user_id": [1], "item_id": [1], "timestamp": [True]}, r"a.parquet: column 'timestamp'.*bool"),
    ],
)
def test_what_no_row_can_help(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check(tmp_path, **columns)


def test_absent_and_empty_inputs(tmp_path: Path) -> None:
    def validate() -> None:
        validate_events(DataConfig(), tmp_path, None)

    with pytest.raises(DataError, match="no such file or folder"):
        validate()
    (tmp_path / "data" / "events").mkdir(parents=True)
    with pytest.raises(DataError, match=r"holds no \.parquet files"):
        validate()
    file = tmp_path / "data" / "events" / "a.parquet"
    file.touch()
    with pytest.raises(DataError, match=r"a\.parquet: can't be read as Parquet: the file is empty"):
        validate()
    file.write_bytes(b"PAR1 and more that is not")
    with pytest.raises(DataError, match=r"a\.parquet: can't be read as Parquet"):
        validate()
    write(file, user_id=pa.array([], pa.int64()), item_id=pa.array([], pa.int64()), timestamp=pa.array([], pa.int64()))
    with pytest.raises(DataError, match="holds 0 events"):
        validate()


def test_a_damaged_page_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "data" / "events" / "a.parquet"
    random = np.random.default_rng(0)
    write(file, user_id=random.integers(0, 10**9, 5000), item_id=random.integers(0, 9, 5000), timestamp=[1] * 5000)
    raw = bytearray(file.read_bytes())
    raw[100:4000] = bytes(3900)
    file.write_bytes(raw)
    with pytest.raises(DataError, match=r"a\.parquet"):
        build_histories(DataConfig(), tmp_path, tmp_path / "h", show=False)


def test_a_missing_action_column_is_an_error_only_when_it_was_named(tmp_path: Path) -> None:
    write(tmp_path / "data/events/a.parquet", user_id=[1], item_id=[1], timestamp=[1])
    assert build_histories(DataConfig(), tmp_path, tmp_path / "h", show=False).action_names == ("event",)
    with pytest.raises(DataError, match="no column 'deed'"):
        validate_events(DataConfig(action_column="deed"), tmp_path, None)


def test_rejects_of_an_earlier_run_do_not_stay(tmp_path: Path) -> None:
    assert check(tmp_path, user_id=[None, 1], item_id=[1, 1], timestamp=[1, 1])[0]
    assert (tmp_path / "rejects.parquet").exists()
    assert not check(tmp_path, user_id=[1], item_id=[1], timestamp=[1])[0]
    assert not (tmp_path / "rejects.parquet").exists()
