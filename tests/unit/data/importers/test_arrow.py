"""Events from Arrow streams of any library end as the same Parquet as events from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.data.config import DataConfig
from retrieval.data.importers import IMPORTERS, ColumnMapping, ImportRequest, import_arrow
from retrieval.errors import ConfigError, ConflictError, DataError

EVENTS = pa.table(
    {
        "user_id": ["a", "b", None, "a"],
        "item_id": pa.array(["x", "y", "x", "z"]).dictionary_encode(),
        "timestamp": [1_700_000_000, 1_700_000_060, 1_700_000_061, -1],
        "action": ["click", "save", "click", "click"],
        "device": ["phone", None, "desk", "desk"],
    }
)
USERS = pa.table({"user_id": ["a", "b", "b"], "country": ["DE", "FR", "BR"]})


def request(out: Path, **given: Any) -> ImportRequest:
    mapping = given.pop("mapping", ColumnMapping(context=("device",)))
    return ImportRequest(source=Path("events"), out=out, mapping=mapping, show=False, **given)


def polars(table: pa.Table) -> Any:
    return pytest.importorskip("polars").from_arrow(table)


def duckdb(table: pa.Table) -> Any:
    return pytest.importorskip("duckdb").connect().from_arrow(table)


def pandas(table: pa.Table) -> Any:
    pytest.importorskip("pandas")
    return table.to_pandas()


SHAPES: dict[str, Callable[[pa.Table], Any]] = {
    "table": lambda table: table,
    "batches": lambda table: table.to_reader(max_chunksize=1),
    "one batch": lambda table: table.combine_chunks().to_batches()[0],
    "pandas": pandas,
    "polars": polars,
    "duckdb": duckdb,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_any_stream_is_imported_as_a_file_is(tmp_path: Path, shape: str) -> None:
    pq.write_table(EVENTS, tmp_path / "log.parquet")
    pq.write_table(USERS, tmp_path / "users.parquet")
    mapping = ColumnMapping(context=("device",))
    of_files = ImportRequest(
        source=tmp_path / "log.parquet",
        out=tmp_path / "files" / "data",
        mapping=mapping,
        users=tmp_path / "users.parquet",
        show=False,
    )
    expected = IMPORTERS["parquet"](of_files)
    found = import_arrow(request(tmp_path / "memory" / "data", users=SHAPES[shape](USERS)), SHAPES[shape](EVENTS))
    assert (found.rows, found.written, found.rejected) == (expected.rows, expected.written, expected.rejected)
    assert found.rejected == {"user is empty": 1, "timestamp is negative": 1}
    assert found.suggestion == expected.suggestion
    for name in ("events/part-00000.parquet", "users.parquet"):
        ours, theirs = (pq.read_table(tmp_path / side / "data" / name) for side in ("memory", "files"))
        assert ours.to_pylist() == theirs.to_pylist()
        assert ours.column_names == theirs.column_names


def test_a_stream_is_cut_to_the_memory_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.data.importers.arrow.batch_rows", lambda _: 2)
    done = import_arrow(request(tmp_path / "data", settings=DataConfig(memory_limit_mb=128)), EVENTS)
    rejects = pq.read_table(tmp_path / "data/rejects/import.parquet").to_pylist()
    assert [(row["row"], row["reason"]) for row in rejects] == [(2, "user is empty"), (3, "timestamp is negative")]
    assert done.rows == 4


@pytest.mark.parametrize(
    ("events", "error", "message"),
    [
        (EVENTS.drop_columns(["device"]), DataError, "no column 'device'"),
        (EVENTS.slice(0, 0), DataError, "holds 0 events"),
        ([1, 2], DataError, "list can't be read as Arrow"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path: Path, events: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        import_arrow(request(tmp_path / "data"), events)
    assert not (tmp_path / "data" / "events").exists()


def test_features_come_from_one_place(tmp_path: Path) -> None:
    mapping = ColumnMapping(user_features=("device",))
    with pytest.raises(ConfigError, match="not from both"):
        import_arrow(request(tmp_path / "data", mapping=mapping, users=USERS), EVENTS)


def test_what_is_there_stays_unless_it_shall_be_replaced(tmp_path: Path) -> None:
    import_arrow(request(tmp_path / "data"), EVENTS)
    with pytest.raises(ConflictError, match="there already"):
        import_arrow(request(tmp_path / "data"), EVENTS)
    assert import_arrow(request(tmp_path / "data", replace=True), EVENTS).written == 2


def test_a_stream_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Any:
        yield EVENTS.combine_chunks().to_batches()[0]
        raise OSError("the line is dead")

    reader = pa.RecordBatchReader.from_batches(EVENTS.schema, broken())
    with pytest.raises(DataError, match="broke off after row 4"):
        import_arrow(request(tmp_path / "data"), reader)
    assert not (tmp_path / "data" / "events").exists()
