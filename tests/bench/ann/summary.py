"""Queries/s of each engine at the recalls that matter, out of its sweep."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tests.bench.report import Row

TARGETS = {10: (0.95, 0.99), 100: (0.99,)}
"""k → recalls; .99 for any other k."""
_NO_PEERS = ("exact", "native")


def at_recall(rows: Sequence[Row]) -> Iterator[Row]:
    """A row for every data, filter, k, target, engine and settings; without `qps` where the target is never reached."""
    swept = [row for row in rows if row.get("kind") == "sweep"]
    for data, wanted, k in dict.fromkeys((row["data"], row["filter"], row["k"]) for row in swept):
        ours = [row for row in swept if (row["data"], row["filter"], row["k"]) == (data, wanted, k)]
        for target in TARGETS.get(k, (0.99,)):
            shared = {"kind": "at recall", "data": data, "k": k, "filter": wanted, "target": target}
            yield from _compared(ours, target, shared)


def _compared(rows: list[Row], target: float, shared: Row) -> Iterator[Row]:
    rates: dict[tuple[str, str], dict[str, float | None]] = {}
    for engine, settings in dict.fromkeys((row["engine"], row["settings"]) for row in rows):
        own = [row for row in rows if (row["engine"], row["settings"]) == (engine, settings)]
        rates[engine, settings] = {column: interpolated(own, target, column) for column in ("qps", "qps_single")}
    peers = [rate["qps"] for (engine, _), rate in rates.items() if engine not in _NO_PEERS and rate["qps"]]
    hnswlib = [rate["qps"] for (engine, _), rate in rates.items() if engine == "hnswlib" and rate["qps"]]
    best, plain = (max((one for one in some if one), default=None) for some in (peers, hnswlib))
    for (engine, settings), rate in rates.items():
        row = {**shared, "engine": engine, "settings": settings, **rate}
        row["of_hnswlib"] = rate["qps"] / plain if rate["qps"] and plain else None
        row["of_best_peer"] = rate["qps"] / best if rate["qps"] and best else None
        yield row


def frontier(rows: Sequence[Row], column: str) -> list[tuple[float, float]]:
    """(recall, rate) of the rows that none beats in both, recall rising."""
    best: list[tuple[float, float]] = []
    for point in sorted(((row["recall"], row[column]) for row in rows if column in row), reverse=True):
        if not best or point[1] > best[-1][1]:
            best.append(point)
    return best[::-1]


def interpolated(rows: Sequence[Row], target: float, column: str) -> float | None:
    """The rate at this recall, its logarithm linear in recall between two points; None where it is out of reach."""
    points = frontier(rows, column)
    above = next((i for i, (recall, _) in enumerate(points) if recall >= target), None)
    if above is None:
        return None
    recall, rate = points[above]
    if above == 0 or recall == target:
        return rate
    lower, faster = points[above - 1]
    share = (target - lower) / (recall - lower)
    return math.exp((1 - share) * math.log(faster) + share * math.log(rate))
