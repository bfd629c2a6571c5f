"""The C++ core without Python, with sanitizers: damaged files, scans, plans, searches while indexes are swapped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(sys.executable).parent


def tool(name: str) -> str:
    """A build tool: that of this environment, else the system's."""
    found = shutil.which(name, path=f"{TOOLS}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.fail(f"{name} is not installed: `make install` brings it")
    return found


def sanitized(sanitizers: str, program: str) -> Path:
    """A program of this folder compiled with `sanitizers`; what was compiled before is used again."""
    build = ROOT / "build" / f"native-{sanitizers.replace(',', '-')}"
    wanted = {"SANITIZE": sanitizers, "TESTS": "ON", "MODULE": "OFF"}
    settings = [f"-DRETRIEVAL_{name}={value}" for name, value in wanted.items()]
    run(tool("cmake"), "-S", ROOT / "retrieval/index/native", "-B", build, "-G", "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}", *settings)  # fmt: skip
    run(tool("cmake"), "--build", build, "--target", program)
    return build / program


def run(*command: str | Path, timeout: float = 600) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{command[0]}: exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    return done.stdout


def counts(said: str) -> dict[str, int]:
    words = said.split()
    return {name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}


@pytest.mark.timeout(900)
def test_no_damaged_file_gets_past_the_reader_or_harms_a_search() -> None:
    said = counts(run(sanitized("address,undefined", "damaged_files"), "2000"))
    assert said["files"] >= 10_000
    assert said["refused"] + said["searched"] == said["files"]
    assert said["searched"] > 0


@pytest.mark.timeout(900)
def test_scans_keep_the_best_rows_with_every_instruction_set() -> None:
    said = counts(run(sanitized("address,undefined", "scanned_rows"), "300"))
    assert said["tried"] >= 900


@pytest.mark.timeout(900)
def test_searches_while_indexes_are_swapped_do_not_race() -> None:
    said = counts(run(sanitized("thread", "searches_and_swaps"), "20"))
    assert (said["swaps"], said["wrong"]) == (20, 0)
    assert said["asked"] > 0


@pytest.mark.timeout(900)
def test_plans_follow_costs_filters_and_budgets() -> None:
    said = counts(run(sanitized("address,undefined", "plans")))
    assert said["checked"] >= 80
    assert said["failed"] == 0
