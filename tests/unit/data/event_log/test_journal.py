"""The write-ahead file: what was appended is read again, however the process ended."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from retrieval.data.event_log.journal import Journal, read_batches
from retrieval.errors import ArtifactError, UnavailableError


def batch(*values: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"n": list(values)})


def written(path: Path, *batches: pa.RecordBatch) -> bytes:
    journal = Journal(path)
    for one in batches:
        journal.append(one)
    journal.close()
    return path.read_bytes()


def values(path: Path) -> list[int]:
    return [value for one in read_batches(path) for value in one.column("n").to_pylist()]


def test_cut_off_anywhere_the_whole_records_stay_and_it_goes_on(tmp_path: Path) -> None:
    first = len(written(tmp_path / "first", batch(1, 2)))
    content = written(tmp_path / "both", batch(1, 2), batch(3))
    for size in range(len(content)):
        path = tmp_path / "cut"
        path.write_bytes(content[:size])
        journal = Journal(path)
        assert values(path) == ([1, 2] if size >= first else [])
        journal.append(batch(4))
        journal.close()
        assert values(path) == ([1, 2, 4] if size >= first else [4])
        path.unlink()


def test_zeros_of_a_power_cut_at_the_end_are_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "zeros"
    path.write_bytes(written(path, batch(1)) + bytes(5000))
    Journal(path).close()
    assert values(path) == [1]
    assert path.stat().st_size < 5000


def test_a_flipped_bit_is_said_and_nothing_is_cut_off(tmp_path: Path) -> None:
    content = written(tmp_path / "whole", batch(1, 2), batch(3))
    for place in range(0, len(content), 7):
        path = tmp_path / "flipped"
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(ArtifactError, match="damaged"):
            Journal(path)
        assert path.stat().st_size == len(content)


def test_a_batch_that_cannot_be_flushed_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "full")
    journal.append(batch(1))

    def fails(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("os.fdatasync", fails)
        with pytest.raises(UnavailableError, match="No space left"):
            journal.append(batch(2))
    journal.append(batch(3))
    journal.close()
    assert values(tmp_path / "full") == [1, 3]


def test_a_journal_that_could_not_be_cut_back_takes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "broken")

    def fails(*_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("os.fdatasync", fails)
        broken.setattr("os.ftruncate", fails)
        with pytest.raises(UnavailableError):
            journal.append(batch(1))
    with pytest.raises(UnavailableError, match="until the service is started again"):
        journal.append(batch(2))
    journal.close()
