"""The script behind `make test-gpu`, on the CPU and in small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from tests.gpu import __main__ as script
from tests.gpu.report import Recorder, SkippedError, read_checks
from tests.gpu.sections import SECTIONS, Place

REPOSITORY = Path(__file__).resolve().parents[2]
NOT_NEEDED = (
    "grpc",
    "sqlalchemy",
    "alembic",
    "lmdb",
    "hnswlib",
    "psutil",
    "typer",
    "optuna",
    "tomlkit",
    "retrieval.index._native",
)
HERE = Place(torch.device("cpu"), small=True)


@pytest.mark.parametrize("name", [name for name in SECTIONS if name != "processes"])
def test_a_section_passes_on_the_cpu(name: str, tmp_path: Path) -> None:
    SECTIONS[name].load()(Recorder(name, tmp_path / "checks"), HERE)
    checks = read_checks(tmp_path / "checks")
    assert checks
    assert [check for check in checks if check.status != "passed"] == []


def test_sections_run_apart_and_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "gpu.json"
    assert script.main(["--device", "cpu", "--small", "--only", "ceilings", "--json", str(report)]) == 0
    written = json.loads(report.read_text())
    assert written["counts"] == {"passed": 2, "failed": 0, "skipped": 0}
    assert written["machine"]["versions"]["torch"] == torch.__version__
    assert written["checks"][0]["figures"]["tflops"] > 0
    assert "ceilings: copy" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_card_it_says_so_and_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "gpu.json"
    assert script.main(["--json", str(report)]) == 0
    assert "no CUDA device" in capsys.readouterr().out
    assert "no CUDA device" in json.loads(report.read_text())["note"]


@pytest.mark.parametrize(
    ("name", "seconds", "why"), [("none-such", 30.0, "exit code 1"), ("towers", 0.05, "after 0 s")]
)
def test_a_section_that_crashes_or_hangs_fails_alone(name: str, seconds: float, why: str) -> None:
    given = Namespace(device="cpu", small=True)
    (check,) = script._run_apart(given, name, seconds)
    assert check.status == "failed"
    assert why in check.reason


def test_what_a_package_is_missing_for_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(script, "missing", lambda names: [name for name in names if name == "onnx"])
    report = tmp_path / "gpu.json"
    assert script.main(["--device", "cpu", "--small", "--only", "export", "--json", str(report)]) == 0
    (check,) = json.loads(report.read_text())["checks"]
    assert (check["status"], check["reason"]) == ("skipped", "not installed: onnx")


def test_no_time_left_is_said(tmp_path: Path) -> None:
    report = tmp_path / "gpu.json"
    script.main(["--device", "cpu", "--small", "--only", "ceilings", "--seconds", "1", "--json", str(report)])
    (check,) = json.loads(report.read_text())["checks"]
    assert check["reason"] == "only 1 s of 1 were left"


def test_neither_services_nor_native_core_are_needed() -> None:
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({NOT_NEEDED}));"
        "from tests.gpu.sections import SECTIONS; [section.load() for section in SECTIONS.values()]"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, env=environment)


def test_a_check_says_what_is_out_of_bounds_and_the_next_is_made(tmp_path: Path) -> None:
    record = Recorder("section", tmp_path / "checks")
    with record.check("too far") as figures:
        figures.at_most("apart", 0.5, 0.1)
        figures.at_least("cosine", float("nan"), 0.9)
    with record.check("broken"):
        raise ValueError("no such thing")
    with record.check("elsewhere"):
        raise SkippedError("one card only")
    with record.check("fine") as figures:
        figures.at_most("apart", 0.05, 0.1)
    checks = read_checks(tmp_path / "checks")
    assert [check.status for check in checks] == ["failed", "failed", "skipped", "passed"]
    assert checks[0].reason == "apart is 0.5, allowed 0.1; cosine is nan, expected at least 0.9"
    assert "no such thing" in checks[1].reason
