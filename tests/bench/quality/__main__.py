"""Quality of the shipped recipes on public data, under the protocols of shared/data/README.md.

    python -m tests.bench.quality --dataset ml1m --track no-time --seeds 3 --json quality.json

Each seed is trained, exported and measured by the package's own pipeline, as `retrieval train` does it: validation
(ndcg@10) chooses the checkpoint, the test targets are looked at once. `--split valid` leaves the test alone, for
tuning. `seconds` are those of training with its validations, `cpu_seconds` those of its processor, export included.
Δ are paired differences to each baseline, with 95 % intervals. What was made stays in `--work`: asked for again, a
finished seed is found, an interrupted one goes on. `mean` and `deviation` rows are over the seeds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from tests.bench.quality.comparisons import COMPARED, mean_comparisons, with_intervals
from tests.bench.quality.datasets import DATASETS, TRACKS, prepare
from tests.bench.quality.progress import tell
from tests.bench.quality.published import published
from tests.bench.quality.runs import Run, described, run
from tests.bench.report import Row, bench_main, write_report

_DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
SHOWN = (
    *(
        "name",
        "cut",
        "kind",
        "seed",
        "HR@10",
        "NDCG@10",
        "stratified_HR@10",
        "coverage@10",
        "HR@50",
        "HR@100",
        "HR@200",
        "NDCG@200",
        *(f"Δ{name}" for name in COMPARED.values()),
        "share",
        "HR@10_reported",
        "targets",
    ),
    *("seconds", "cpu_seconds", "examples_per_s", "epochs", "valid_ndcg@10", "measure_seconds", "failed"),
)
MEASURED = ("model", "baseline", "comparison", "cold start", "cold start baseline", "served")
"""Kinds of rows that come from runs, not from other rows; in the order of the report."""
_FIGURES = (
    "HR@",
    "NDCG@",
    "stratified_HR@",
    "coverage@",
    "MRR",
    "seconds",
    "cpu_seconds",
    "examples_per_s",
    "epochs",
    "share",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    bench_main("Quality", _flags, measure, arguments, columns=SHOWN)


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", choices=tuple(DATASETS), required=True)
    parser.add_argument("--track", choices=TRACKS, help="the data set's only one where it has one")
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        help="a shipped recipe or a .toml file; the track's own if not given; none: what an import suggests",
    )
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--split", choices=("test", "valid"), default="test", help="valid: look at validation only")
    parser.add_argument("--cut", action="append", metavar="TEXT", help="globo: only cuts with this in their name")
    parser.add_argument(
        "--served", action="store_true", help="by the README's commands, first seed: HR@10 over gRPC too"
    )
    add_running_flags(parser)


def add_running_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that say how the runs of a bench are run."""
    parser.add_argument("--seeds", type=int, default=3, help="seeds 1 to N")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time, each a process of its own")
    parser.add_argument("--threads", type=int, default=0, help="of each run; 0: the cores shared out among the workers")
    parser.add_argument("--most", type=int, default=20_000, help="targets that are measured, evenly spaced")
    parser.add_argument("--data", type=Path, default=_DATA, help="folder of the data sets")
    parser.add_argument("--work", type=Path, default=Path("build/bench-quality"), help="what was made is used again")
    parser.add_argument("--users", type=int, help="so many users only: to try it out")


def measure(given: argparse.Namespace) -> list[Row]:
    """All rows."""
    data = DATASETS[given.dataset]
    if given.served and given.split != "test":
        raise SystemExit("--served looks at the test targets, as `retrieval train` does; leave --split out")
    given.track = given.track or next(iter(data.recipes))
    if given.track not in data.recipes:
        raise SystemExit(f"{given.dataset} has no track {given.track}; it has: {', '.join(data.recipes)}")
    given.recipe = given.recipe or data.recipes[given.track]
    root = workspace_of(given, given.dataset)
    runs = [
        Run(
            dataset=given.dataset,
            track=given.track,
            recipe=given.recipe,
            cut=cut,
            seed=seed,
            overrides=tuple(given.overrides),
            targets=given.split,
            most=given.most,
            root=root,
            threads=threads_of(given),
            show=given.workers == 1,
            source=given.data.resolve(),
            users=given.users,
            served=given.served and seed == 1,
        )
        for cut in data.cuts
        if not given.cut or any(text in cut for text in given.cut)
        for seed in range(1, given.seeds + 1)
    ]
    rows: list[Row] = []
    note = {"note": data.notes[given.track]} if given.track in data.notes else {}
    for _, made in finished(runs, given.workers):
        rows += [row | note for row in made]
        write_report(given, in_order(rows))
    return complete(rows, given.dataset, given.track)


def complete(rows: Sequence[Row], dataset: str, track: str) -> list[Row]:
    """Measured rows in order, their means and deviations, and what others published; each with its name."""
    every = [*in_order(rows), *summary(rows), *mean_comparisons(rows), *published(dataset, track)]
    return [{"name": row.get("baseline", row["recipe"]), **with_intervals(row)} for row in every]


def workspace_of(given: argparse.Namespace, dataset: str) -> Path:
    """The data set's workspace in the work folder, made where it isn't there."""
    root: Path = given.work.resolve() / (dataset if given.users is None else f"{dataset}-{given.users}")
    prepare(DATASETS[dataset], given.data, root, given.users)
    _open_once(dataset, given.data, root)
    return root


def _open_once(dataset: str, source: Path, root: Path) -> None:
    """Build the histories before several processes want them, and check what the protocol relies on."""
    from retrieval.workflows.workspace import Workspace

    data = DATASETS[dataset]
    data.check(source / data.folder, Workspace.open(root).dataset(show=True))


def threads_of(given: argparse.Namespace) -> int:
    """Threads of each run."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return given.threads or max(1, cores // given.workers)


def finished(runs: Sequence[Run], workers: int) -> Iterator[tuple[Run, list[Row]]]:
    """Each run and its rows, as it finishes. Each run is a fresh process, so that threads and memory are its own."""
    if not runs:
        return
    # inherited by the processes, and read there when torch is loaded
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ["OMP_NUM_THREADS"] = str(runs[0].threads)
    context = multiprocessing.get_context("spawn")
    with (
        _told(sorted({one.root for one in runs})) if workers > 1 else _quiet(),
        ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1) as pool,
    ):
        waiting = {pool.submit(run, one): one for one in runs}
        for done in as_completed(waiting):
            rows = done.result()
            figures = {key: value for key, value in rows[0].items() if key in ("HR@10", "NDCG@10", "seconds", "failed")}
            sys.stderr.write(f"done: {described(waiting[done])}: {figures}\n")
            yield waiting[done], rows


@contextmanager
def _quiet() -> Iterator[None]:
    yield


@contextmanager
def _told(roots: Iterable[Path]) -> Iterator[None]:
    over = threading.Event()
    thread = threading.Thread(target=tell, args=(tuple(roots), over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Models first, then what they are compared with; by cut and seed."""
    return sorted(rows, key=lambda row: (row.get("cut", ""), MEASURED.index(row["kind"]), row["seed"]))


def summary(rows: Sequence[Row]) -> list[Row]:
    """Mean and standard deviation over the seeds of each cut, and over all cuts."""
    made: list[Row] = []
    for kind in ("model", "cold start"):
        of_kind = [row for row in rows if row["kind"] == kind and "failed" not in row]
        cuts = list(dict.fromkeys(row.get("cut", "") for row in of_kind))
        groups = [(cut, [row for row in of_kind if row.get("cut", "") == cut]) for cut in cuts]
        groups += [("all cuts", of_kind)] if len(cuts) > 1 else []
        made += [line for cut, group in groups for line in _mean_and_deviation(kind, cut, group)]
    baselines = [row for row in rows if row["kind"].endswith("baseline")]
    if len({row.get("cut", "") for row in baselines}) > 1:
        for key in dict.fromkeys((row["kind"], row["baseline"]) for row in baselines):
            group = [row for row in baselines if (row["kind"], row["baseline"]) == key]
            made.append(_mean_and_deviation(key[0], "all cuts", group)[0] | {"baseline": key[1]})
    return made


def _mean_and_deviation(kind: str, cut: str, group: Sequence[Row]) -> list[Row]:
    names = [key for key in group[0] if key.startswith(_FIGURES) and not key.endswith("_error")]
    values = {name: [row[name] for row in group if name in row] for name in names}
    shared = {key: group[0][key] for key in ("dataset", "track", "recipe", "device", "split") if key in group[0]}
    shared |= {"cut": cut} if cut else {}
    mean = {name: round(statistics.fmean(of), 5) for name, of in values.items()}
    spread = {name: round(statistics.stdev(of), 5) if len(of) > 1 else None for name, of in values.items()}
    return [
        {**shared, "kind": f"{kind} mean", "seed": len(group), **mean},
        {**shared, "kind": f"{kind} deviation", "seed": len(group), **spread},
    ]


if __name__ == "__main__":
    main()
