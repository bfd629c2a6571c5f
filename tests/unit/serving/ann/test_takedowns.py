from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from retrieval.errors import ConfigError
from retrieval.serving.ann.takedowns import TakedownFile, TakedownWatch, parsed


def settled(path: Path, content: bytes, age_s: int = 60) -> None:
    """Write a file that was changed a while ago."""
    path.write_bytes(content)
    then = path.stat().st_mtime_ns - age_s * 10**9
    os.utime(path, ns=(then, then))


@pytest.mark.parametrize(
    ("content", "item_ids"),
    [
        (b"", set()),
        (b"\n \n\t\r\n", set()),
        (b"i1\ni2", {"i1", "i2"}),
        (b"\xef\xbb\xbfi1\r\ni2\r\n\r\ni1\r\n", {"i1", "i2"}),
        ("# not a comment\n a \nü\u2028b\n".encode(), {"# not a comment", " a ", "ü\u2028b"}),
    ],
)
def test_every_line_is_an_id_as_it_stands(content: bytes, item_ids: set[str]) -> None:
    assert parsed(content) == item_ids


def test_a_file_is_read_again_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "takedowns.txt"
    settled(path, b"a\n")
    listed = TakedownFile(path)
    assert listed.read() == {"a"}
    assert listed.changed() is None
    settled(path, b"a\nb\n")
    assert listed.changed() == {"a", "b"}
    settled(path, b"a\nc\n", age_s=30)  # of the same size
    assert listed.changed() == {"a", "c"}
    other = tmp_path / "other"
    settled(other, b"a\nd\n")
    os.utime(other, ns=(path.stat().st_mtime_ns,) * 2)  # of the same size and time, but another file
    other.replace(path)
    assert listed.changed() == {"a", "d"}
    settled(path, b"", age_s=20)
    assert listed.changed() == frozenset()


def test_a_file_that_changed_just_now_is_not_trusted_to_look_changed(tmp_path: Path) -> None:
    """Two writes of the same size within one tick of the file system's clock."""
    path = tmp_path / "takedowns.txt"
    path.write_bytes(b"a")
    now = path.stat().st_mtime_ns
    listed = TakedownFile(path)
    assert listed.read() == {"a"}
    assert listed.changed() is None
    path.write_bytes(b"b")
    os.utime(path, ns=(now, now))
    assert listed.changed() == {"b"}


@pytest.mark.parametrize("content", [None, b"a\xff\n"])
def test_a_file_that_can_not_be_read_is_said_first_and_outlived_later(
    tmp_path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "takedowns.txt"

    def spoil() -> None:
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)

    spoil()
    listed = TakedownFile(path)
    with pytest.raises(ConfigError, match=r"takedowns\.txt: the list of takedowns can't be read"):
        listed.read()
    path.write_bytes(b"a\n")
    assert listed.read() == {"a"}
    for _ in range(2):
        spoil()
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert [listed.changed() for _ in range(3)] == [None] * 3
        [record] = caplog.records
        assert "stays in force" in record.getMessage()
        path.write_bytes(b"a\n")
        assert listed.changed() is None  # it is as it was
    path.write_bytes(b"b\n")
    assert listed.changed() == {"b"}


def until(condition: Callable[[], bool]) -> None:
    by = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < by
        time.sleep(0.01)


def put(path: Path, content: bytes) -> None:
    """In one step, as a list that is being watched should be: written in place, it is empty for a moment."""
    written = path.with_suffix(".new")
    written.write_bytes(content)
    written.replace(path)


def test_changes_are_applied_and_trouble_is_outlived(tmp_path: Path) -> None:
    path = tmp_path / "takedowns.txt"
    path.write_bytes(b"a\n")
    applied: list[frozenset[str]] = []
    failures = 0

    def apply(item_ids: frozenset[str]) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise ZeroDivisionError
        applied.append(item_ids)

    watch = TakedownWatch(TakedownFile(path), apply, every_s=0.01)
    watch.start()
    assert applied == [{"a"}]
    failures = 3
    put(path, b"b\n")
    until(lambda: applied[-1] == {"b"})
    path.unlink()
    time.sleep(0.1)
    put(path, b"c\n")
    until(lambda: applied[-1] == {"c"})
    watch.stop()
    assert [set(one) for one in applied] == [{"a"}, {"b"}, {"c"}]
