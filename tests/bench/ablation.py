"""What each choice is worth: the same recipe with one thing changed, on identical batches and budgets.

    python -m tests.bench.ablation --dataset ml1m --json ablation.json

Every row is the base recipe of the data set with the overrides that `ROWS` lists, trained for the same number of epochs
with the same seeds (so with the same batches in the same order), without early stop. Validation chooses the checkpoint,
and validation targets are what is measured, unless `--split test` says otherwise: nothing is chosen on the test here.
What was made stays in `--work`; a row that is finished is found again. Rows that do not help stay in the table.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.quality.__main__ import add_running_flags, finished, threads_of, workspace_of
from tests.bench.quality.datasets import DATASETS
from tests.bench.quality.runs import Run
from tests.bench.report import Row, bench_main, write_report

SHOWN = (
    "group",
    "row",
    "HR@10",
    "NDCG@10",
    "HR@10_deviation",
    "HR@100",
    "HR@200",
    "change",
    "seeds",
    "seconds",
    "failed",
)

# Negatives of as many items in every row of the group, so that the rows differ in where they come from only.
_IN_BATCH = ("training.negatives.in_batch=2048", "training.negatives.uniform=0")
_UNIFORM = ("training.negatives.in_batch=0", "training.negatives.uniform=2048")
_MIXED = ("training.negatives.in_batch=1024", "training.negatives.uniform=1024")
_SAMPLED = "training.loss=sampled_softmax"
_RAW, _COUNTS, _STREAMING = (f"training.negatives.correction={name}" for name in ("none", "counts", "streaming"))


@dataclass(frozen=True)
class Ablation:
    """One row of the table."""

    group: str
    name: str
    overrides: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ("ml1m", "globo")


ROWS: tuple[Ablation, ...] = (
    Ablation("base", "the recipe as it is shipped"),
    Ablation("objective", "full softmax", ("training.loss=full_softmax",)),
    Ablation("objective", "uniform negatives", (_SAMPLED, *_UNIFORM, _RAW)),
    Ablation("objective", "in-batch negatives, raw", (_SAMPLED, *_IN_BATCH, _RAW)),
    Ablation("objective", "in-batch + logQ", (_SAMPLED, *_IN_BATCH, _COUNTS)),
    Ablation("objective", "in-batch + logQ on the positive too", ("training.loss=logq_softmax", *_IN_BATCH, _COUNTS)),
    Ablation("objective", "in-batch + corrected logQ", ("training.loss=corrected_softmax", *_IN_BATCH, _COUNTS)),
    Ablation("objective", "mixed, raw", (_SAMPLED, *_MIXED, _RAW)),
    Ablation("objective", "mixed + logQ", (_SAMPLED, *_MIXED, _COUNTS)),
    Ablation("objective", "mixed + corrected logQ", ("training.loss=corrected_softmax", *_MIXED, _COUNTS)),
    # not on globo, whose windows are by time: earlier batches, and what is estimated from them, are of other periods
    Ablation("objective", "mixed + logQ, streaming estimate", (_SAMPLED, *_MIXED, _STREAMING), ("ml1m",)),
    Ablation(
        "objective", "mixed + memory + logQ", (_SAMPLED, *_MIXED, _COUNTS, "training.negatives.memory=1024"), ("ml1m",)
    ),
    Ablation("objective", "gBCE, uniform negatives", ("training.loss=gbce", *_UNIFORM, _RAW)),
    Ablation("objective", "window of targets (dense all action)", ("training.targets.method=window",), ("ml1m",)),
    Ablation("encoder", "transformer", ("towers.encoder=transformer",)),
    Ablation("encoder", "HSTU with repeats", ("towers.encoder=hstu_repeats",)),
    Ablation("encoder", "LiGR", ("towers.encoder=ligr",)),
    Ablation("encoder", "HSTU", ("towers.encoder=hstu",)),
    Ablation("encoder", "mean", ("towers.encoder=mean",)),
    Ablation("encoder", "four vectors a user", ("towers.interests=4",)),
    Ablation("time", "no time bias", ("towers.time_bias=false",)),
    Ablation("time", "time bias", ("towers.time_bias=true",)),
    Ablation(
        "time", "no time at all", ("towers.time_bias=false", "features.history.time=false", "features.context=[]")
    ),
    Ablation("features", "no item features", ("features.item=[]",)),
    Ablation("features", "item features, not in the history", ("towers.item_features_in_history=false",), ("ml1m",)),
    Ablation("features", "no profile", ("features.user=[]",), ("ml1m",)),
    Ablation("features", "no context", ("features.context=[]",)),
    Ablation("craft", "bf16 in matrix products", ("training.precision=bf16",)),
    Ablation("craft", "weights averaged (EMA)", ("training.ema=0.999",)),
)
_EPOCHS = {"ml1m": 8, "globo": 1}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    bench_main("Ablation", _flags, measure, arguments, columns=SHOWN)


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", choices=tuple(_EPOCHS), required=True)
    parser.add_argument("--recipe", metavar="NAME", help="the base; the data set's recipe with time if not given")
    parser.add_argument("--epochs", type=int, help=f"budget of every row; {_EPOCHS} if not given")
    parser.add_argument("--split", choices=("valid", "test"), default="valid", help="targets that are measured")
    parser.add_argument("--only", action="append", metavar="TEXT", help="rows with this in their group or name")
    parser.add_argument("--cut", metavar="TEXT", default="", help="globo: the cut with this in its name; else the last")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="in every row"
    )
    add_running_flags(parser)
    parser.set_defaults(seeds=1)


def measure(given: argparse.Namespace) -> list[Row]:
    """One line per row of the table, in its order."""
    data = DATASETS[given.dataset]
    given.recipe = given.recipe or data.recipes["time"]
    given.epochs = given.epochs or _EPOCHS[given.dataset]
    chosen = [row for row in ROWS if given.dataset in row.datasets and _wanted(row, given.only)]
    root = workspace_of(given, given.dataset)
    cut = [name for name in data.cuts if given.cut in name][-1]
    budget = (f"training.epochs={given.epochs}", f"training.patience={given.epochs}")
    of: dict[Run, Ablation] = {}
    for seed in range(1, given.seeds + 1):
        for row in chosen:
            overrides = (*budget, *given.overrides, *row.overrides)
            run = Run(
                dataset=given.dataset,
                track="time",
                recipe=given.recipe,
                cut=cut,
                seed=seed,
                overrides=overrides,
                targets=given.split,
                most=given.most,
                root=root,
                threads=threads_of(given),
                show=given.workers == 1,
                source=given.data.resolve(),
                users=given.users,
            )
            of[run] = row
    found: dict[str, list[Row]] = {}
    for run, rows in finished(tuple(of), given.workers):
        found.setdefault(of[run].name, []).append(rows[0])
        write_report(given, _table(chosen, found, given.dataset))
    return _table(chosen, found, given.dataset)


def _wanted(row: Ablation, only: Sequence[str] | None) -> bool:
    return not only or row.group == "base" or any(text in f"{row.group} {row.name}" for text in only)


def _table(chosen: Sequence[Ablation], found: dict[str, list[Row]], dataset: str) -> list[Row]:
    """Means over the seeds; `change` is that of NDCG@10 against the base."""
    lines: list[Row] = []
    for row in chosen:
        rows = found.get(row.name, [])
        good = [one for one in rows if "failed" not in one]
        line: Row = {"dataset": dataset, "group": row.group, "row": row.name, "overrides": list(row.overrides)}
        if good:
            figures = [key for key in good[0] if key.startswith(("HR@", "NDCG@", "seconds", "examples_per_s"))]
            line |= {key: round(statistics.fmean(one[key] for one in good), 5) for key in figures}
            spread = statistics.stdev(one["HR@10"] for one in good) if len(good) > 1 else None
            line |= {"HR@10_deviation": spread, "seeds": len(good), "best_epoch": [one["best_epoch"] for one in good]}
            if lines and "NDCG@10" in lines[0]:
                line["change"] = f"{line['NDCG@10'] / max(lines[0]['NDCG@10'], 1e-9) - 1:+.1%}"
        if len(good) < len(rows):
            line["failed"] = next(one["failed"] for one in rows if "failed" in one)
        if rows:
            lines.append(line)
    return lines


if __name__ == "__main__":
    main()
