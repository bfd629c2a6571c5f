"""Runs the sections, each in a process of its own, and writes the report. See `tests/gpu/__init__.py`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.gpu.machine import machine, missing, no_cuda_reason
from tests.gpu.report import Check, Recorder, read_checks, table

_SECONDS = 460.0
_LEAST_SECONDS = 15.0  # with less left a section isn't started
_TAIL = 1500  # characters of what a section that crashed printed last


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 1 if a check failed, else 0, also where there is no CUDA device."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description="CUDA beside the CPU: results and speed.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="the sizes of the script's own test")
    parser.add_argument("--only", nargs="+", metavar="SECTION", help="these sections only")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="stop after so many, with what there is")
    parser.add_argument("--section", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.section:
        _run_here(given)
        return 0
    why_not = no_cuda_reason() if given.device == "cuda" or missing(("torch",)) else ""
    if why_not:
        print(why_not)
        _write(given, [], why_not)
        return 0
    return 1 if any(check.status == "failed" for check in _run_all(given)) else 0


def _run_all(given: argparse.Namespace) -> list[Check]:
    from tests.gpu.sections import SECTIONS

    unknown = set(given.only or ()) - SECTIONS.keys()
    if unknown:
        raise SystemExit(f"--only: no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    end = time.monotonic() + given.seconds
    checks: list[Check] = []
    for name, section in SECTIONS.items():
        if given.only and name not in given.only:
            continue
        lacking = missing(section.needs)
        left = end - time.monotonic()
        if lacking:
            found = [Check(name, "all", "skipped", 0.0, {}, f"not installed: {', '.join(lacking)}")]
        elif left < _LEAST_SECONDS:
            found = [Check(name, "all", "skipped", 0.0, {}, f"only {left:.0f} s of {given.seconds:.0f} were left")]
        else:
            found = _run_apart(given, name, min(section.seconds, left))
        print(table(found), flush=True)
        checks += found
        _write(given, checks)
    return checks


def _run_apart(given: argparse.Namespace, name: str, seconds: float) -> list[Check]:
    """A section in its own process; what it left behind, and that it crashed or ran out of time."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="retrieval-gpu-") as folder:
        out, log = Path(folder) / "checks.jsonl", Path(folder) / "log"
        command = [sys.executable, "-m", "tests.gpu", "--section", name, "--device", given.device, "--out", str(out)]
        command += ["--small"] if given.small else []
        with log.open("wb") as to:
            # a session of its own: processes that it started end with it
            process = subprocess.Popen(command, stdout=to, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = process.wait(seconds)
            why = f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}" if code else ""
        except subprocess.TimeoutExpired:
            why = f"was ended after {seconds:.0f} s"
        finally:
            _end(process)
        checks = read_checks(out)
        if why:
            tail = log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
            checks.append(Check(name, "all", "failed", round(time.monotonic() - started, 2), {}, f"{tail}\n{why}"))
        return checks


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _run_here(given: argparse.Namespace) -> None:
    from tests.gpu.sections import SECTIONS, Place

    section = SECTIONS[given.section]
    import torch

    torch.manual_seed(0)
    section.load()(Recorder(section.module, given.out), Place(torch.device(given.device), given.small))


def _write(given: argparse.Namespace, checks: Sequence[Check], note: str = "") -> None:
    if not given.json:
        return
    counts = {status: sum(c.status == status for c in checks) for status in ("passed", "failed", "skipped")}
    report: dict[str, Any] = {
        "note": note,
        "device": given.device,
        "small": given.small,
        "machine": machine(),
        "counts": counts,
        "checks": [asdict(check) for check in checks],
    }
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(report, indent=1, default=float) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
