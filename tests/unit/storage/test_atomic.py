from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retrieval.storage import atomic
from retrieval.storage.atomic import (
    Existing,
    clear_abandoned,
    is_staged,
    staged_file,
    staged_folder,
    staged_name,
    write_bytes,
    write_text,
)


def gone_process() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def left_by(process: int) -> str:
    machine, _, rest = staged_name().rpartition("-")[0].rpartition("-")
    assert rest == str(os.getpid())
    return f"{machine}-{process}-0123456789ab"


def test_a_file_is_made_and_replaced(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_text(target, "Grüße")
    assert target.read_text(encoding="utf-8") == "Grüße"
    write_bytes(target, b"\x00\xff")
    assert target.read_bytes() == b"\x00\xff"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_only_what_is_durable_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = list[str]()
    monkeypatch.setattr(atomic, "flush", lambda path: flushed.append("folder" if path.is_dir() else "file"))
    write_text(tmp_path / "file", "x", durable=False)
    assert flushed == []
    write_text(tmp_path / "file", "x")
    assert flushed == ["file", "folder"]


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_text(target, "old")

    def fail() -> None:
        with staged_file(target) as staged:
            staged.write_text("ne")
            assert is_staged(staged.name)
            assert target.read_text() == "old"
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        fail()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_missing_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "none" / "file", "x")
    with pytest.raises(FileNotFoundError), staged_folder(tmp_path / "none" / "folder"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with staged_folder(target) as staged:
        (staged / "inner").mkdir()
        (staged / "inner" / "file").write_text("one")
        assert not target.exists()
    assert (target / "inner" / "file").read_text() == "one"

    def fail() -> None:
        with staged_folder(tmp_path / "other") as staged:
            (staged / "file").write_text("half")
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(("existing", "expected"), [("refuse", "old"), ("keep", "old"), ("replace", "new")])
@pytest.mark.parametrize("swap", ["in one step", "in three"])
def test_what_is_there_already(
    tmp_path: Path, existing: Existing, expected: str, swap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if swap == "in three":
        monkeypatch.setattr(atomic.ctypes, "CDLL", lambda *_, **__: object())
    target = tmp_path / "folder"
    target.mkdir()
    (target / "file").write_text("old")
    (target / "other").write_text("old")

    def write() -> None:
        with staged_folder(target, existing=existing) as staged:
            (staged / "file").write_text("new")

    if existing == "refuse":
        with pytest.raises(FileExistsError, match="folder"):
            write()
    else:
        write()
    assert (target / "file").read_text() == expected
    assert (target / "other").exists() == (existing != "replace")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_file_or_a_link_in_the_way_is_replaced_by_a_folder(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("stays")
    for name in ("link", "file"):
        target = tmp_path / name
        if name == "link":
            target.symlink_to(elsewhere)
        else:
            target.write_text("x")
        with staged_folder(target, existing="replace") as staged:
            (staged / "file").write_text("new")
        assert (target / "file").read_text() == "new"
        assert not target.is_symlink()
    assert (elsewhere / "file").read_text() == "stays"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "file", "link"]


def test_what_killed_processes_left_is_cleared_and_what_others_write_stays(tmp_path: Path) -> None:
    dead, alive, abroad = left_by(gone_process()), left_by(os.getpid()), f".staged-elsewhere-{gone_process()}-0123"
    for name in (dead, alive, abroad):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / left_by(gone_process())).write_text("a file")
    write_text(tmp_path / "target", "x")
    assert {path.name for path in tmp_path.iterdir()} == {"target", alive, abroad}
    clear_abandoned(tmp_path / "none")


FULL = """
import resource, signal, sys
from pathlib import Path
from retrieval.storage.atomic import staged_folder, write_bytes
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
root = Path(sys.argv[1])
for attempt in range(2):
    try:
        if attempt == 0:
            write_bytes(root / "file", b"n" * 100_000)
        else:
            with staged_folder(root / "folder", existing="replace") as staged:
                (staged / "file").write_bytes(b"n" * 100_000)
    except OSError as error:
        print(error.strerror)
"""


def test_a_disk_that_is_full_leaves_the_old_ones(tmp_path: Path) -> None:
    """Stood in for by a limit on the size of files, which stops a write half-way just so."""
    write_bytes(tmp_path / "file", b"old")
    with staged_folder(tmp_path / "folder") as staged:
        (staged / "file").write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["File too large"] * 2
    assert (tmp_path / "file").read_bytes() == (tmp_path / "folder" / "file").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


WRITER = """
import sys
from pathlib import Path
from retrieval.storage.atomic import staged_folder, write_bytes
root, number = Path(sys.argv[1]), 0
while True:
    number = (number + 1) % 256
    write_bytes(root / "file", bytes([number]) * 300_000)
    with staged_folder(root / "folder", existing="replace") as staged:
        for name in ("one", "two"):
            (staged / name).write_bytes(bytes([number]) * 150_000)
    if number == 1:
        print("going", flush=True)
"""


def whole(content: bytes, size: int) -> bool:
    return len(content) == size and len(set(content)) == 1


def test_a_writer_that_is_killed_at_any_moment_leaves_old_or_new_whole(tmp_path: Path) -> None:
    draw = random.Random(7)
    for _ in range(12):
        with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            by = time.monotonic() + draw.uniform(0.0, 0.08)
            while time.monotonic() < by:  # a reader beside it sees whole ones, too
                assert whole((tmp_path / "file").read_bytes(), 300_000)
            process.send_signal(signal.SIGKILL)
        assert whole((tmp_path / "file").read_bytes(), 300_000)
        one, two = ((tmp_path / "folder" / name).read_bytes() for name in ("one", "two"))
        assert one == two
        assert whole(one, 150_000)
    write_text(tmp_path / "file", "next")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
