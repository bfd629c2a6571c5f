from __future__ import annotations

from pathlib import Path

import pytest

from retrieval.errors import ConflictError
from retrieval.storage.resumable import resumable_folder


def test_what_an_attempt_left_is_found_by_the_next_one(tmp_path: Path) -> None:
    def attempt(fail: bool) -> list[str]:
        with resumable_folder(tmp_path / "index-1", others="index-") as folder:
            found = sorted(path.name for path in folder.iterdir())
            (folder / f"part-{len(found)}").touch()
            if fail:
                raise RuntimeError("cut short")
            return found

    for _ in range(2):
        with pytest.raises(RuntimeError, match="cut short"):
            attempt(fail=True)
    assert attempt(fail=False) == ["part-0", "part-1"]
    assert [path.name for path in tmp_path.iterdir()] == ["index-1"]


def test_leftovers_go_unless_somebody_holds_them_or_they_are_called_otherwise(tmp_path: Path) -> None:
    for name in ("index-2", "other-1"):
        (tmp_path / name).mkdir()
    with (
        resumable_folder(tmp_path / "index-3", others="index-3"),
        resumable_folder(tmp_path / "index-1", others="index-"),
    ):
        assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"index-1", "index-3", "other-1"}


def test_it_is_worked_on_by_one_at_a_time(tmp_path: Path) -> None:
    again = resumable_folder(tmp_path / "index-1", others="index-")
    with resumable_folder(tmp_path / "index-1", others="index-") as folder:
        with pytest.raises(ConflictError, match="index-1 is being worked on"), again:
            pass
        assert folder.is_dir()
