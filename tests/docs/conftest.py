from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from retrieval.serving.local_fleet.supervisor import free_port
from tests.docs.pages import ROOT, blocks
from tests.serving_fleet import running_fleet

# A query says whether the services answer, which a reader sees by eye before going on
_WAIT = "for i in $(seq 120); do retrieval query u0 --json >answers.log 2>&1 && break; sleep 0.5; done"


@dataclass(frozen=True)
class GetStarted:
    """What the shell blocks of the get-started page left behind, and what they printed."""

    folder: Path
    printed: str


@pytest.fixture(scope="session")
def get_started(tmp_path_factory: pytest.TempPathFactory) -> GetStarted:
    """The get-started page, run once for all processes of the test run."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "get-started"
    with FileLock(shared / "get-started.lock"):
        if not (folder / "printed.log").is_file():
            folder.mkdir()
            printed = _run(script(), folder)
            (folder / "printed.log").write_text(printed, encoding="utf-8")
    return GetStarted(folder, (folder / "printed.log").read_text(encoding="utf-8"))


@pytest.fixture
def shop(get_started: GetStarted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the page's workspace, in a folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RETRIEVAL_TRAINING__THREADS", "1")
    return _copy(get_started, tmp_path)


@pytest.fixture(scope="module")
def address(get_started: GetStarted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the candidate service of a running fleet on the workspace listens."""
    with running_fleet(_copy(get_started, tmp_path_factory.mktemp("served"))) as fleet:
        yield fleet.address


def _copy(get_started: GetStarted, folder: Path) -> Path:
    return shutil.copytree(get_started.folder / "shop", folder / "shop", ignore=shutil.ignore_patterns("run"))


def script() -> str:
    """The page's shell blocks as one script that ends at the first command that fails."""
    lines = ["set -euo pipefail"]
    for block in blocks(ROOT / "docs" / "get-started.md", "sh"):
        if not block.skip:
            for line in block.text.splitlines():
                lines += [line, _WAIT] if line.endswith("&") else [line]
    return "\n".join(lines) + "\n"


def _run(text: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-c", text],
        cwd=folder,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "RETRIEVAL_SERVING__CANDIDATES_PORT": str(free_port()),
            "RETRIEVAL_TRAINING__THREADS": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout
