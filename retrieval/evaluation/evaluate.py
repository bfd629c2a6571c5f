"""Full-corpus evaluation of vectors and of baselines, under one protocol.

Each target is one event; it is ranked among all candidates with what its user had engaged with before it left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import chain

import numpy as np
import pyarrow as pa

from retrieval.arrays import Ints, Vectors
from retrieval.data.corpus import Corpus, Seen
from retrieval.data.facts.repeats import engaged_before
from retrieval.data.facts.training import item_counts
from retrieval.data.histories.histories import Histories
from retrieval.data.splits import evenly_spaced
from retrieval.errors import DataError
from retrieval.evaluation.baselines import make_baseline
from retrieval.evaluation.config import EvaluationConfig
from retrieval.evaluation.metrics import (
    UNREACHABLE,
    exposure_metrics,
    rank_metrics,
    standard_errors,
    stratified_hit_rates,
)
from retrieval.evaluation.ranking import Observer, Ranking, Scorer, Task, make_task, rank_targets
from retrieval.evaluation.report import EvaluationReport, Evidence, ModelScores, SliceScores
from retrieval.evaluation.slices import Slice, SliceSources, column_slices, standard_slices
from retrieval.observability import track

UserVectors = Vectors | Callable[[Ints], Vectors]
"""float32 [T, D] in the order of the targets, or a function from event rows [b] to float32 [b, D].

Of users with several vectors [T, E, D] and [b, E, D]: an item's score is its largest inner product with them.
"""
ItemVectors = Vectors | Callable[[int], Vectors]
"""float32 [N, D], or a function from a moment in µs to those as an index built then holds them."""
_INDEXES_HELD = 4


def evaluate_vectors(
    histories: Histories,
    targets: Ints,
    user_vectors: UserVectors,
    item_vectors: ItemVectors,
    *,
    corpus: Corpus,
    train_end: Ints,
    config: EvaluationConfig,
    users: pa.Table | None = None,
    items: pa.Table | None = None,
    name: str = "model",
    split: str = "test",
    show: bool = False,
    observe: Observer | None = None,
) -> EvaluationReport:
    """Measure user vectors against item vectors (float32 [N, D]) by inner product, with baselines and slices beside.

    `targets` are event rows int64 [T]. `corpus` says which index each of them meets: its items are ranked, by the item
    vectors as of its moment where those are a function of time. `train_end` int64 [U] says what baselines may learn
    from. Tables give columns to slice by; `observe` is shown the model's scores. Raises DataError
    or ConfigError on what does not fit.
    """
    started = time.monotonic()
    chosen = evenly_spaced(np.arange(len(targets)), config.max_targets)
    if callable(item_vectors):
        chosen = chosen[in_time_order(histories, targets[chosen])]
    vectors = user_vectors
    if not callable(vectors):
        if len(vectors) != len(targets):
            raise DataError(f"evaluation: {len(vectors)} user vectors for {len(targets)} targets")
        vectors = vectors[chosen]
    task = make_task(histories, targets[chosen], corpus, block_mb=config.block_mb)
    # read before anything takes long, so that a wrong column is known at once
    sources = SliceSources(histories, task.targets, train_end, users, items)
    columns = (column_slices(sources, column, config.slice_values) for column in config.slices)
    slices = tuple(each for each in chain(standard_slices(sources), *columns) if each.members.any())
    scorer = inner_products(task, vectors, item_vectors)
    trained = item_counts(histories, train_end)
    with track("evaluation", len(task.targets), unit="targets", show=show) as tracker:
        ranking = rank_targets(task, scorer, config.ks, tracker=tracker, observe=observe)
    others = _baselines(task, train_end, config, show=show)
    unreachable = task.targets[ranking.ranks == UNREACHABLE]
    return EvaluationReport(
        split=split,
        targets=len(task.targets),
        available_targets=len(targets),
        candidates=len(task.columns),
        seen=task.seen,
        unreachable=len(unreachable),
        seen_before=_seen_before(histories, unreachable, task.seen),
        ks=config.ks,
        model=_scores(name, task, ranking, trained),
        baselines=_all_scores(task, others, trained),
        slices=tuple(_slice_scores(slices, ranking.ranks, config)),
        seconds=round(time.monotonic() - started, 3),
        evidence=_evidence(task, trained[task.columns], {name: ranking, **others}, slices),
    )


def evaluate_baselines(
    histories: Histories,
    targets: Ints,
    *,
    corpus: Corpus,
    train_end: Ints,
    config: EvaluationConfig,
    split: str = "test",
    show: bool = False,
) -> EvaluationReport:
    """Measure the baselines of `config` alone, under the protocol of `evaluate_vectors`."""
    started = time.monotonic()
    chosen = evenly_spaced(targets, config.max_targets)
    task = make_task(histories, chosen, corpus, block_mb=config.block_mb)
    trained = item_counts(histories, train_end)
    others = _baselines(task, train_end, config, show=show)
    return EvaluationReport(
        split=split,
        targets=len(task.targets),
        available_targets=len(targets),
        candidates=len(task.columns),
        seen=task.seen,
        unreachable=0,
        ks=config.ks,
        model=None,
        baselines=_all_scores(task, others, trained),
        slices=(),
        seconds=round(time.monotonic() - started, 3),
        evidence=_evidence(task, trained[task.columns], others, ()),
    )


def hit_rate_and_ndcg(
    histories: Histories,
    targets: Ints,
    user_vectors: UserVectors,
    item_vectors: ItemVectors,
    *,
    corpus: Corpus,
    k: int = 10,
) -> Mapping[str, float]:
    """`hr@k`, `ndcg@k` and `mrr`, without baselines or slices: quick enough for validation while training."""
    if callable(item_vectors):
        order = in_time_order(histories, targets)
        targets, user_vectors = targets[order], user_vectors if callable(user_vectors) else user_vectors[order]
    task = make_task(histories, targets, corpus)
    ranking = rank_targets(task, inner_products(task, user_vectors, item_vectors))
    return rank_metrics(ranking.ranks, [k])


def in_time_order(histories: Histories, targets: Ints) -> Ints:
    """The order in which each index that targets meet is needed for a while, and then no more."""
    return np.argsort(histories.timestamps[targets], kind="stable")


def _seen_before(histories: Histories, rows: Ints, seen: Seen) -> int:
    """How many of these event rows are left out because their user had engaged with the item."""
    return 0 if seen.allowed else int(engaged_before(histories, rows, seen.within_us).sum())


def inner_products(task: Task, user_vectors: UserVectors, item_vectors: ItemVectors) -> Scorer:
    """Scores by inner product; item vectors as `evaluate_vectors` takes them. Raises DataError where widths differ.

    A vector of zeros is of an item that nothing is known of: in no index, unless `corpus.unknown_items` asks for it.
    """
    index_of = _index_of(task, item_vectors)

    def score(part: slice) -> Vectors:
        rows, moments = task.targets[part], task.moments[part]
        queries = np.asarray(user_vectors(rows) if callable(user_vectors) else user_vectors[part], np.float32)
        out = np.empty((len(rows), len(task.columns)), np.float32)
        for at_us in np.unique(moments).tolist() if callable(item_vectors) else [None]:
            corpus = index_of(at_us)
            if queries.ndim not in {2, 3} or queries.shape[-1] != corpus.shape[1]:
                raise DataError(
                    f"evaluation: user vectors {list(queries.shape)} and item vectors {list(corpus.shape)} "
                    "differ in width"
                )
            lines = np.arange(len(rows)) if at_us is None else np.flatnonzero(moments == at_us)
            out[lines] = _products(queries[lines], corpus)
            if not task.corpus.config.unknown_items:
                out[np.ix_(lines, np.flatnonzero(~corpus.any(1)))] = -np.inf
        return out

    return score


def _products(queries: Vectors, corpus: Vectors) -> Vectors:
    """Inner products of queries [b, D] with the corpus [C, D]; of several vectors each [b, E, D], the largest."""
    if queries.ndim == 2:
        return queries @ corpus.T
    best = queries[:, 0] @ corpus.T
    for interest in range(1, queries.shape[1]):
        np.maximum(best, queries[:, interest] @ corpus.T, out=best)
    return best


def _index_of(task: Task, item_vectors: ItemVectors) -> Callable[[int | None], Vectors]:
    """A function from a moment to the candidates' vectors [C, D] then; the same at any where these don't change."""
    if not callable(item_vectors):
        unchanging = _corpus(task, item_vectors)
        return lambda _: unchanging
    return lru_cache(_INDEXES_HELD)(lambda at_us: _corpus(task, item_vectors(at_us)))


def _corpus(task: Task, item_vectors: Vectors) -> Vectors:
    if item_vectors.ndim != 2 or len(item_vectors) != len(task.column_of):
        raise DataError(f"evaluation: expected {len(task.column_of)} item vectors, found {list(item_vectors.shape)}")
    return np.ascontiguousarray(item_vectors[task.columns], np.float32)


def _scores(name: str, task: Task, ranking: Ranking, trained: Ints) -> ModelScores:
    """Metrics; `trained` int64 [N] are the training events of every item."""
    ks = tuple(ranking.shown)
    metrics = rank_metrics(ranking.ranks, ks)
    errors = standard_errors(metrics, len(ranking.ranks))
    metrics |= stratified_hit_rates(ranking.ranks, trained[task.histories.items[task.targets]], ks)
    for k, shown in ranking.shown.items():
        metrics |= {f"{metric}@{k}": value for metric, value in exposure_metrics(shown, trained[task.columns]).items()}
    return ModelScores(name, metrics, errors)


def _baselines(task: Task, train_end: Ints, config: EvaluationConfig, *, show: bool) -> dict[str, Ranking]:
    found: dict[str, Ranking] = {}
    for name in config.baselines:
        with track(f"baseline {name}", len(task.targets), unit="targets", show=show) as tracker:
            found[name] = rank_targets(task, make_baseline(name, task, train_end, config), config.ks, tracker=tracker)
    return found


def _all_scores(task: Task, rankings: Mapping[str, Ranking], trained: Ints) -> tuple[ModelScores, ...]:
    return tuple(_scores(name, task, ranking, trained) for name, ranking in rankings.items())


def _evidence(task: Task, counts: Ints, rankings: Mapping[str, Ranking], slices: tuple[Slice, ...]) -> Evidence:
    users = np.asarray(task.histories.users_of(task.targets), np.int64)
    columns = task.column_of[task.histories.items[task.targets]]
    target_counts = np.bincount(columns[columns >= 0], minlength=len(task.columns))
    return Evidence(task.targets, users, task.columns, counts, target_counts, rankings, slices)


def _slice_scores(slices: Iterable[Slice], ranks: Ints, config: EvaluationConfig) -> Iterable[SliceScores]:
    for each in slices:
        metrics = rank_metrics(ranks[each.members], config.ks)
        yield SliceScores(each.column, each.value, int(each.members.sum()), metrics)
