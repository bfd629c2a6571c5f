from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retrieval.errors import ConflictError, UnavailableError
from retrieval.storage.locks import locked, locked_or_not

HOLDER = """
import sys, time
from pathlib import Path
from retrieval.storage.locks import locked
with locked(Path(sys.argv[1]), "something"):
    print("held", flush=True)
    time.sleep(60)
"""
COUNTER = """
import sys, time
from pathlib import Path
from retrieval.storage.locks import locked_or_not
lock, counter = Path(sys.argv[1]), Path(sys.argv[2])
done = 0
while done < 40:
    with locked_or_not(lock) as free:
        if free:
            before = int(counter.read_text())
            time.sleep(0.001)
            counter.write_text(str(before + 1))
            done += 1
"""


@contextmanager
def held_elsewhere(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_lock_is_held_by_one_process_and_the_error_names_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held_elsewhere(path) as process:
        for _ in range(2):  # asking takes nothing away from what the holder said of itself
            with pytest.raises(ConflictError) as caught, locked(path, "a fleet runs on /shop"):
                pass
            assert str(caught.value).startswith(f"a fleet runs on /shop (process {process.pid} of ")
            assert str(path) in str(caught.value)
        with locked_or_not(path) as free:
            assert not free
    with locked(path, "it"):
        assert f"process {os.getpid()} " in path.read_text()
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_killed_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held_elsewhere(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with locked(path, "it"):
            pass


def test_it_is_let_go_when_the_block_raises(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(RuntimeError, match="inside"), locked(path, "it"):
        raise RuntimeError("inside")
    with locked(path, "it"):
        pass


def test_threads_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    path, found = tmp_path / "lock", list[bool]()

    def attempt() -> None:
        with locked_or_not(path) as free:
            found.append(free)

    with locked(path, "it"):
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    assert found == [False]


def test_many_processes_never_hold_it_together(tmp_path: Path) -> None:
    """The file is removed and made anew all the time; nobody may hold the one that was removed."""
    lock, counter = tmp_path / "lock", tmp_path / "counter"
    counter.write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", COUNTER, lock, counter]) for _ in range(3)]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert counter.read_text() == "120"


def test_a_folder_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="can't be locked"), locked(tmp_path / "none" / "lock", "it"):
        pass
