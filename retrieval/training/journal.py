"""What a run writes down as it goes: metrics.jsonl, and its curves as a PNG."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrieval.storage.atomic import write_text

METRICS, CURVES = "metrics.jsonl", "curves.png"


class Journal:
    """Appends one JSON object a line; on resuming, lines from after the checkpoint are dropped first."""

    def __init__(self, run_dir: Path, total_steps: int) -> None:
        self._path = run_dir / METRICS
        rows = [row for row in read_journal(self._path) if row["step"] <= total_steps]
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in rows))

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row; it has `step`, `epoch` and `kind` ("train" or "validation")."""
        with self._path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(dict(row)) + "\n")


def read_journal(path: Path) -> list[dict[str, Any]]:
    """All whole rows; a torn last line of a run that was killed is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def draw_curves(run_dir: Path) -> Path:
    """Plot loss, rate and validation metrics of metrics.jsonl over epochs into curves.png."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_journal(run_dir / METRICS)
    train = [row for row in rows if row["kind"] == "train"]
    validation = [row for row in rows if row["kind"] == "validation"]
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.plot([row["epoch"] for row in train], [row["loss"] for row in train], color="tab:blue")
    left.set(title="training loss", xlabel="epoch", ylabel="loss")
    names = list(validation[0]["metrics"]) if validation else []
    for name in names:
        right.plot([row["epoch"] for row in validation], [row["metrics"][name] for row in validation], "o-", label=name)
    right.set(title="validation", xlabel="epoch")
    if names:
        right.legend()
    path = run_dir / CURVES
    figure.savefig(path, dpi=110)
    return path
