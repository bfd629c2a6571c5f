"""Puts reports of several runs of this bench into one, means and deviations anew: each cut on its own machine, say.

    python -m tests.bench.quality.merge --out tests/bench/results/globo.json evening.json afternoon.json morning.json

Of a row that several reports hold, the last one's counts. What says only where a run's files lay is left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.quality.__main__ import MEASURED, complete
from tests.bench.report import Row


def main(arguments: Sequence[str] | None = None) -> None:
    """Merge."""
    parser = argparse.ArgumentParser(description="One report of several")
    parser.add_argument("reports", nargs="+", type=Path, help="what --json wrote, of one data set and track")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    merged = merge([json.loads(path.read_text(encoding="utf-8")) for path in given.reports])
    given.out.write_text(json.dumps(merged, indent=1) + "\n", encoding="utf-8")


def merge(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Machine and settings of the first report, the rows of all. Raises SystemExit where they don't go together."""
    tracks = {(report["settings"]["dataset"], report["settings"]["track"]) for report in reports}
    if len(tracks) > 1:
        raise SystemExit(f"reports of different data sets or tracks: {sorted(map(str, tracks))}")
    of: dict[tuple[Any, ...], Row] = {}
    for row in (row for report in reports for row in report["results"] if row["kind"] in MEASURED):
        of[row["kind"], row.get("cut"), row.get("baseline"), row["seed"]] = row
    dataset, track = tracks.pop()
    settings = {key: value for key, value in reports[0]["settings"].items() if key not in {"data", "work", "cut"}}
    machine = {key: value for key, value in reports[0]["machine"].items() if key != "system"}
    return {
        "machine": machine,
        "settings": settings,
        "results": complete(list(of.values()), dataset, track),
    }


if __name__ == "__main__":
    main()
