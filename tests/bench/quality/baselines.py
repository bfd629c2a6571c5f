"""The baselines of a data set alone, without a training: rows that `tests.bench.quality.merge` brings into a report.

python -m tests.bench.quality.baselines --dataset globo --json baselines.json
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from retrieval.data.corpus import measured_corpus
from retrieval.data.facts.training import item_counts
from retrieval.data.splits import evenly_spaced
from retrieval.evaluation import EvaluationReport, evaluate_baselines
from retrieval.workflows.evaluation.evaluate import Targets, as_learned
from retrieval.workflows.workspace import Workspace
from retrieval.workflows.workspace.recipes import load_recipe
from tests.bench.quality.__main__ import SHOWN, add_running_flags, complete, workspace_of
from tests.bench.quality.datasets import DATASETS, TRACKS
from tests.bench.quality.measure import Rows, known_until, rows_of
from tests.bench.report import Row, bench_main


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    bench_main("Baselines", _flags, measure, arguments, columns=SHOWN)


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", choices=tuple(DATASETS), required=True)
    parser.add_argument("--track", choices=TRACKS, help="the data set's only one where it has one")
    parser.add_argument("--split", choices=("test", "valid"), default="test")
    parser.add_argument("--cut", action="append", metavar="TEXT", help="globo: only cuts with this in their name")
    parser.add_argument("--baseline", action="append", metavar="NAME", help="only these; the data set's own otherwise")
    add_running_flags(parser)


def measure(given: argparse.Namespace) -> list[Row]:
    """Rows of kind baseline and cold start baseline."""
    data = DATASETS[given.dataset]
    given.track = given.track or next(iter(data.recipes))
    workspace_of(given, given.dataset)
    rows = [
        {"dataset": given.dataset, "track": given.track, "recipe": data.recipes[given.track], "seed": 1, **row}
        for cut in data.cuts
        if not given.cut or any(text in cut for text in given.cut)
        for row in _of_cut(given, cut)
    ]
    return complete(rows, given.dataset, given.track)


def _of_cut(given: argparse.Namespace, cut: str) -> list[Row]:
    data = DATASETS[given.dataset]
    flags = [*data.inputs[given.track], *data.protocol_of(given.track), *data.cuts[cut]]
    root = workspace_of(given, given.dataset)
    workspace = Workspace.open(root, flags, recipe=load_recipe(data.recipes[given.track]).settings)
    dataset = workspace.dataset(show=False)
    which: Targets = given.split
    split = as_learned(workspace.split(dataset), dataset, which, refit=workspace.settings.training.refit)
    targets = evenly_spaced(split.test if given.split == "test" else split.valid, given.most)
    chosen = {"ks": data.ks, "max_targets": given.most, "baselines": given.baseline or data.baselines, "slices": ()}
    config = workspace.settings.evaluation.model_copy(update=chosen)

    corpus = measured_corpus(workspace.settings.corpus, dataset, split, which)

    def evaluated(rows: Rows) -> EvaluationReport:
        return evaluate_baselines(
            dataset.histories,
            rows,
            corpus=corpus,
            train_end=known_until(dataset, split, targets),
            config=config,
        )

    rows = rows_of(evaluated(targets), "baseline", data.ks)
    new = targets[item_counts(dataset.histories, split.train_end)[dataset.histories.items[targets]] == 0]
    if data.cold_start and len(new):
        share = {"share": round(len(new) / len(targets), 4)}
        cold = rows_of(evaluated(new), "baseline", data.ks, kind="cold start baseline")
        rows += [share | row for row in cold]
    named = {"cut": cut} if cut else {}
    return [row | named | ({} if given.split == "test" else {"split": given.split}) for row in rows]


if __name__ == "__main__":
    main()
