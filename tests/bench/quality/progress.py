"""What runs in other processes are at: the newest line of each journal, on stderr."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

_EVERY_S = 20.0
_OLD_S = 3600.0


def tell(roots: tuple[Path, ...], over: threading.Event) -> None:
    """Print each run's newest epoch and validation when they change, until `over` is set."""
    told: dict[Path, int] = {}
    while not over.wait(_EVERY_S):
        for path in (path for root in roots for path in root.glob("runs/*/*/metrics.jsonl")):
            try:
                if time.time() - path.stat().st_mtime > _OLD_S:
                    continue
                lines = path.read_text(encoding="utf-8").splitlines()
            except OSError:  # finished and gone
                continue
            if len(lines) > told.get(path, 0):
                told[path] = len(lines)
                sys.stderr.write(f"{path.parent.name[:8]}: {_line(lines[-1])}\n")


def _line(text: str) -> str:
    try:
        row = json.loads(text)
    except json.JSONDecodeError:
        return text[:120]
    shown = {**row.pop("metrics", {}), **row}
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in shown.items()
    )
