"""The command: flags, the order of things, rows. What rows mean is said in the package's docstring."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.bench.ann import runs
from tests.bench.ann.data import SIZES, TRUTH, Data, prepare
from tests.bench.ann.engines import Engine, engines
from tests.bench.ann.filters import prepare_filters
from tests.bench.ann.summary import at_recall
from tests.bench.report import Row, show, write_report

_SHOWN = (
    *("engine", "settings", "data", "k", "filter", "effort", "recall", "qps", "qps_single", "build_s", "open_ms"),
    *("bytes_per_item", "private_per_item", "shared_per_item", "failed"),
)
_SUMMARY = ("data", "k", "filter", "target", "engine", "settings", "qps", "qps_single", "of_hnswlib", "of_best_peer")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description="ANN engines, one thread")
    _flags(parser)
    given = parser.parse_args(arguments)
    rows = _measure(given)
    summary = list(at_recall(rows))
    show("ANN engines, one thread", rows, _SHOWN)
    show("Queries/s at a recall", summary, _SUMMARY)
    write_report(given, [*rows, *summary])


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", default="200k", type=_data, help="200k, 1m, globo, or a number of vectors")
    parser.add_argument("--k", type=_k, action="append", metavar="K", help="100 and 10 if not given")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="ENGINE", help="a name, or a name and settings as the rows have them"
    )
    parser.add_argument("--filters", action="store_true", help="search with filters, too")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many is taken")
    parser.add_argument("--clock", choices=tuple(runs.CLOCKS), default="wall", help="cpu: on a shared machine")
    parser.add_argument("--work", type=Path, default=Path("build/bench-ann"), help="what was made is used again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine, settings and results as JSON")


def _data(given: str) -> str:
    if given in (*SIZES, "globo") or (given.isdigit() and int(given) >= TRUTH):
        return given
    raise argparse.ArgumentTypeError(f"{given}: 200k, 1m, globo or a number from {TRUTH}")


def _k(given: str) -> int:
    if given.isdigit() and 1 <= int(given) <= TRUTH:
        return int(given)
    raise argparse.ArgumentTypeError(f"{given}: from 1 to {TRUTH}")


def _measure(given: argparse.Namespace) -> list[Row]:
    ks = given.k or [100, 10]
    data = prepare(given.data, given.work)
    bench = _Bench(data, ks, given.filters)
    for engine in _installed(engines(given.only)):
        bench.weigh(engine)
    for turn in range(given.rounds):
        for engine in bench.ready:
            bench.sweep(engine, turn, given.clock)
        write_report(given, bench.rows())
    return bench.rows()


def _installed(every: Iterable[Engine]) -> Iterator[Engine]:
    missing: set[str] = set()
    for engine in every:
        if engine.installed:
            yield engine
        elif engine.name not in missing:
            missing.add(engine.name)
            _tell(f"{engine.name}: not installed, left out (pip install {engine.package})")


class _Bench:
    """The rows so far, and the engines that have not failed."""

    def __init__(self, data: Data, ks: list[int], filters: bool) -> None:
        self.ready: list[Engine] = []
        self._data, self._ks = data, ks
        self._cases = prepare_filters(data, max(ks)) if filters else []
        self._of: dict[Engine, Row] = {}
        self._swept: dict[tuple[Engine, str, int, object], Row] = {}

    def weigh(self, engine: Engine) -> None:
        """Build it, unless that was done, and see how much memory it takes."""
        row: Row = {"engine": engine.name, "settings": engine.settings, "data": self._data.name}
        self._of[engine] = row
        _tell(f"{engine.name} {engine.settings}: building")
        try:
            row["build_s"] = runs.built(engine, self._data)
            row.update(runs.alone(1, runs.footprint, engine, self._data, max(self._ks)))
            self.ready.append(engine)
        except Exception as failure:
            self._fail(engine, failure)

    def sweep(self, engine: Engine, turn: int, clock: str) -> None:
        """One round of an engine."""
        _tell(f"{engine.name} {engine.settings}: round {turn + 1}")
        try:
            rows = runs.alone(1, runs.sweep, engine, self._data, self._ks, clock)
            if self._cases and engine.filters:
                rows += runs.alone(1, runs.sweep_filters, engine, self._data, self._cases, max(self._ks), clock)
        except Exception as failure:
            self._fail(engine, failure)
            return
        for row in rows:
            key = engine, row["filter"], row["k"], row["effort"]
            before = self._swept.get(key, row)
            best = {name: max(row[name], before[name]) for name in ("qps", "qps_single") if name in row}
            opened = min(row["open_ms"], before["open_ms"])
            self._swept[key] = {**row, **best, "open_ms": opened}

    def rows(self) -> list[Row]:
        """Those of the sweeps, best of the rounds so far, engine by engine, and one for each engine that failed."""
        rows = [
            {"kind": "sweep", **self._of[engine], **row}
            for engine in self._of
            for (swept, *_), row in self._swept.items()
            if swept == engine
        ]
        return rows + [{"kind": "failed", **row} for row in self._of.values() if "failed" in row]

    def _fail(self, engine: Engine, failure: Exception) -> None:
        self._of[engine]["failed"] = f"{type(failure).__name__}: {failure}"
        self.ready = [one for one in self.ready if one != engine]
        _tell(f"{engine.name} {engine.settings}: failed, {failure}")


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
