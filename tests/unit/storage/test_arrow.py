from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from retrieval.storage.arrow import read_arrow, write_arrow


def test_a_table_comes_back_mapped_with_its_chunks_and_facts(tmp_path: Path) -> None:
    column = pa.chunked_array([["a", None], [], ["ccc"]], pa.string())
    table = pa.table({"text": column, "number": pa.chunked_array([[1, 2], [], [3]], pa.int64())})
    table = table.replace_schema_metadata({"space": "x"})
    write_arrow(tmp_path / "table.arrow", table)
    before = pa.total_allocated_bytes()
    found = read_arrow(tmp_path / "table.arrow")
    assert pa.total_allocated_bytes() == before  # mapped, not copied
    assert found.equals(table)
    assert found.schema.metadata == {b"space": b"x"}


def test_an_empty_table_comes_back(tmp_path: Path) -> None:
    table = pa.table({"text": pa.array([], pa.string())})
    write_arrow(tmp_path / "table.arrow", table)
    assert read_arrow(tmp_path / "table.arrow").equals(table)


def test_what_is_no_arrow_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "table.arrow").write_bytes(b"not a table at all")
    with pytest.raises(pa.ArrowInvalid):
        read_arrow(tmp_path / "table.arrow")
    with pytest.raises(FileNotFoundError):
        read_arrow(tmp_path / "none.arrow")
