"""A file that grows and is rotated: every line once, from where reading stopped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from retrieval.data.event_log.tail import Position, Tail, load_position, save_position
from retrieval.errors import NotFoundError


def add(path: Path, text: str, *, at: int | None = None) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
    if at is not None:
        os.utime(path, (at, at))


def read(tail: Tail) -> list[str]:
    """All lines that are there, over rotations."""
    found, idle = [], 0
    while idle < 3:
        lines = tail.read()
        idle = 0 if lines else idle + 1
        found += [line.content.decode() for line in lines]
    return found


Open = Callable[..., Tail]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Makes tails, and closes them."""
    with ExitStack() as stack:

        def make(*given: Any, **options: Any) -> Tail:
            return stack.enter_context(closing(Tail(*given, **options)))

        yield make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clicks.jsonl"


def test_whole_lines_are_read_as_they_come(opened: Open, path: Path) -> None:
    add(path, "a\nb\nc")
    tail = opened(path)
    assert read(tail) == ["a", "b"]
    add(path, "c\n\nd\n")
    assert read(tail) == ["cc", "", "d"]


def test_the_next_run_goes_on_and_a_line_has_the_same_place_each_time(opened: Open, path: Path, tmp_path: Path) -> None:
    add(path, "a\na\n")
    tail = opened(path)
    first = tail.read()
    assert len({line.place for line in first}) == 2
    assert [line.place for line in opened(path).read()] == [line.place for line in first]
    assert tail.position is not None
    save_position(tmp_path / "kept.json", path, tail.position)
    add(path, "b\n")
    assert read(opened(path, load_position(tmp_path / "kept.json"))) == ["b"]


def test_a_renamed_file_is_read_to_its_end_before_the_next(opened: Open, path: Path) -> None:
    add(path, "a\n")
    tail = opened(path, grace_s=0.0)
    assert read(tail) == ["a"]
    old = path.rename(path.with_name("clicks.jsonl.1"))
    add(old, "b\nlast without an end")
    assert read(tail) == ["b"]  # no new file yet
    add(path, "c\n")
    assert read(tail) == ["last without an end", "c"]


def test_a_renamed_file_gets_time_for_its_last_lines(opened: Open, path: Path) -> None:
    add(path, "a\n")
    tail = opened(path, grace_s=3600.0)
    assert read(tail) == ["a"]
    old = path.rename(path.with_name("clicks.jsonl.1"))
    add(path, "c\n")
    assert read(tail) == []
    add(old, "b\n")
    assert read(tail) == ["b"]


def test_files_rotated_twice_while_nobody_read_are_read_in_order(opened: Open, path: Path) -> None:
    add(path, "a\nb\n", at=1000)
    tail = opened(path)
    position = Position(path.stat().st_dev, path.stat().st_ino, 2)
    tail.close()
    path.rename(path.with_name("clicks.jsonl.2"))
    add(path.with_name("clicks.jsonl.1"), "c\n", at=2000)
    add(path.with_name("clicks.jsonl.1.gz"), "not this\n", at=2500)
    add(path.with_name("clicks.jsonl.bak"), "nor this\n", at=2600)
    add(path, "d\n", at=3000)
    assert read(opened(path, position, grace_s=0.0)) == ["b", "c", "d"]


def test_a_file_cut_to_nothing_is_read_from_its_beginning(opened: Open, path: Path) -> None:
    add(path, "a\nb\n")
    tail = opened(path)
    [first, _] = tail.read()
    path.write_text("a\n")
    tail.read()
    [again] = tail.read()
    assert again.content == b"a"
    assert again.place != first.place


def test_a_line_of_more_than_a_mebibyte_is_said_and_the_next_one_read(opened: Open, path: Path) -> None:
    add(path, "a\n" + "x" * (5 << 19) + "\nb\n")
    tail = opened(path)
    lines = [line for _ in range(9) for line in tail.read()]
    assert [(line.content, line.flaw) for line in lines] == [
        (b"a", ""),
        (b"", "the line is longer than 1 MiB"),
        (b"b", ""),
    ]


def test_what_is_gone_is_said(opened: Open, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(NotFoundError, match=r"clicks\.jsonl"):
        opened(path).read()
    add(path, "a\n")
    assert read(opened(path, Position(1, 1, 500))) == ["a"]
    assert "up to byte 500 is gone" in caplog.text
    assert load_position(path) is None
