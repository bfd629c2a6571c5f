"""Small segments are merged: every reader finds each event once, before, meanwhile and after."""

from __future__ import annotations

import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.data import open_dataset
from retrieval.data.config import DataConfig
from retrieval.data.event_log.segments import list_segments, merge_small, remove_merged, segment_path, write_segment
from retrieval.data.reading.segments import as_segment, merged_away, segment_name
from retrieval.data.reading.sources import list_files

AT = 1_700_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "events" / "recorded"


def write(folder: Path, number: int, rows: int = 1, **more: list[str]) -> None:
    names = [f"{number}-{row}" for row in range(rows)]
    columns = {"user_id": names, "item_id": names, "timestamp": [AT + number] * rows, "event_id": names}
    write_segment(segment_path(folder, number), pa.table(columns | more))


def events(folder: Path) -> list[str]:
    files = list_files(folder.parent, "events")
    return sorted(name for file in files for name in pq.read_table(file)["event_id"].to_pylist())


def test_the_oldest_small_neighbours_become_one_and_no_event_is_read_twice(folder: Path) -> None:
    for number in (1, 2, 4, 5, 6):
        write(folder, number, rows=9 if number == 2 else 1)
    before = events(folder)
    assert merge_small(folder, rows=5, together=3) == folder / segment_name(4, 6)
    assert merge_small(folder, rows=5, together=3) is None
    assert [one.last for one in list_segments(folder)] == [1, 2, 6]
    assert events(folder) == before
    assert open_dataset(DataConfig(), folder.parents[2], show=False).histories.events == len(before)
    assert remove_merged(folder) == 0  # somebody may just have listed them
    assert remove_merged(folder, older_s=0.0) == 3
    assert events(folder) == before


def test_merged_segments_are_merged_again(folder: Path) -> None:
    for number in range(1, 5):
        write(folder, number)
    merge_small(folder, rows=10, together=2)
    merge_small(folder, rows=10, together=2)
    assert [(one.first, one.last) for one in list_segments(folder)] == [(1, 3), (4, 4)]
    assert remove_merged(folder, older_s=0.0) == 4
    assert events(folder) == ["1-0", "2-0", "3-0", "4-0"]


def test_segments_of_other_columns_are_not_merged(folder: Path) -> None:
    write(folder, 1)
    write(folder, 2, device=["phone"])
    write(folder, 3, device=["phone"])
    assert merge_small(folder, rows=10, together=2) == folder / segment_name(2, 3)


@given(st.sets(st.integers(1, 9), min_size=1), st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=3))
def test_a_segment_is_away_where_another_one_holds_it(singles: set[int], spans: list[tuple[int, int]]) -> None:
    made = {(number, number) for number in singles}
    for first, last in spans:  # as merging makes them: of what is there and not held by another
        current = [one for one in made if not any(other != one and _holds(other, one) for other in made)]
        inside = [one for one in current if first <= one[0] and one[1] <= last]
        if len(inside) > 1:
            made.add((min(one[0] for one in inside), max(one[1] for one in inside)))
    paths = {one: Path("recorded") / segment_name(*one) for one in made}
    away = {path for one, path in paths.items() if any(other != one and _holds(other, one) for other in made)}
    assert merged_away(paths.values()) == away
    assert all((segment.first, segment.last) == one for one, path in paths.items() if (segment := as_segment(path)))


def _holds(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] <= other[0] and other[1] <= one[1]


def test_a_dataset_is_opened_though_segments_are_merged_and_removed_meanwhile(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 5):
        write(folder, number)
    calls = itertools.count()
    from retrieval.data import build_histories

    def merging(*given: object, **options: object) -> object:
        if next(calls) == 0:
            merge_small(folder, rows=10, together=4)
            remove_merged(folder, older_s=0.0)
        return build_histories(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("retrieval.data.dataset.build_histories", merging)
    assert open_dataset(DataConfig(), folder.parents[2], show=False).histories.events == 4
    assert next(calls) == 2
