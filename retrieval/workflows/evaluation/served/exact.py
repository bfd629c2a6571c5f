"""Exact search, for the stages before the index: each target among the items of one moment, by given vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from retrieval.arrays import Ints, Mask, Scores, Vectors
from retrieval.data import Histories
from retrieval.data.corpus import Corpus, as_held
from retrieval.evaluation.evaluate import inner_products
from retrieval.evaluation.ranking import Task, make_task, rank_targets


@dataclass(frozen=True)
class Asked:
    """Whom is asked for what: event rows int64 [T], and the vectors of their users [T, D], or [T, E, D]."""

    histories: Histories
    targets: Ints
    users: Vectors
    k: int
    corpus: Corpus
    block_mb: int


@dataclass(frozen=True)
class Exact:
    """What exact search finds for T targets."""

    hits: Mask
    """bool [T]: whether each target stands among the first k."""
    lists: Ints
    """int64 [T, k]: catalog rows that do; -1 where fewer may be shown."""
    excluded: list[Ints]
    """For each target, catalog rows that it must not be shown: what its user had engaged with."""


def exact_search(
    asked: Asked, moments: Ints, items_at: Callable[[int], Mask], vectors_at: Callable[[int], Vectors]
) -> Exact:
    """Search as of `moments` int64 [T], among the items of each, bool [N], by their vectors float32 [N, D]."""
    nothing = np.zeros(0, np.int64)
    found = Exact(np.zeros(len(moments), np.bool_), np.full((len(moments), asked.k), -1), [nothing for _ in moments])
    for at_us in np.unique(moments).tolist():
        lines = np.flatnonzero(moments == at_us)
        members = items_at(at_us)
        if members.any():
            _search_one(asked, lines, members, vectors_at(at_us), found)
    return found


def _search_one(asked: Asked, lines: Ints, members: Mask, vectors: Vectors, found: Exact) -> None:
    corpus = as_held(asked.corpus, members)
    task = make_task(asked.histories, asked.targets[lines], corpus, block_mb=asked.block_mb)

    def keep(_: Task, part: slice, scores: Scores) -> None:
        found.lists[lines[part]] = _best(task, scores, asked.k)
        for line, row in zip(lines[part].tolist(), scores, strict=True):
            found.excluded[line] = task.columns[np.isneginf(row)]

    ranking = rank_targets(task, inner_products(task, asked.users[lines], vectors), observe=keep)
    found.hits[lines] = ranking.ranks < asked.k


def _best(task: Task, scores: Scores, k: int) -> Ints:
    """Catalog rows of the best k of each line [b, k]; -1 where fewer may be shown."""
    most = min(k, scores.shape[1])
    columns = np.argpartition(-scores, most - 1, axis=1)[:, :most]
    shown = np.isfinite(np.take_along_axis(scores, columns, axis=1))
    rows = np.full((len(scores), k), -1)
    rows[:, :most] = np.where(shown, task.columns[columns], -1)
    return rows
