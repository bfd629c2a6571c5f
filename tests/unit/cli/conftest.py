from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from retrieval.cli import main as entry
from retrieval.workflows.workspace import Workspace
from tests.tiny import make_workspace


@dataclass(frozen=True)
class Ran:
    """How a command ended: exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs the `retrieval` command in this process, through the same door as the installed one."""

    def call(*arguments: str | Path) -> Ran:
        monkeypatch.setattr("sys.argv", ["retrieval", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        code = 0
        try:
            entry.main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return call


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, '[model]\nname = "feed"\n[rollout]\nhost_wait_s = 0.0\n')
