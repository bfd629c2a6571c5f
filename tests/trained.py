"""What a training left behind, as tests compare it with another."""

from __future__ import annotations

from pathlib import Path

from retrieval.towers.pair import TowerPair
from retrieval.training.journal import METRICS, read_journal


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_journal(folder / METRICS) if row["kind"] == "train"]


def furthest(first: TowerPair, second: TowerPair) -> float:
    other = second.state_dict()
    return max(float((value - other[name]).abs().max()) for name, value in first.state_dict().items())
