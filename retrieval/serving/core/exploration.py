"""New items in answers: a quota of the places for items that training never met, whatever they score.

They are asked for by a second query of the same user, which only new items pass; without a quota there is none.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from retrieval.filters.filter import AllOf, AnyOf
from retrieval.filters.values import ValueColumn
from retrieval.index.query import NEW_ITEM
from retrieval.serving.core.answer import CandidateAnswer
from retrieval.serving.core.pending import Pending

_NEW = AnyOf(NEW_ITEM, (True,))


def new_items_of(piece: Pending, share: float) -> Pending | None:
    """A query for the best new items for the user of another: as many as `share` of its places; None for none."""
    query = piece.query
    places = int(share * query.k)
    if not places:
        return None
    only_new = _NEW if query.filter is None else AllOf((query.filter, _NEW))
    return Pending(
        piece.user,
        replace(query, k=places, filter=only_new),
        piece.deadline,
        piece.known,
        profile=piece.profile,
        seen=piece.seen,
        attributes=piece.attributes,
    )


def result_of(piece: Pending, new: Pending | None) -> CandidateAnswer:
    """The answer to a query, with the new items that were asked for beside it.

    Waits until the deadline: TimeoutError; raises what either of the two failed with.
    """
    answer = piece.answer.result(max(0.0, piece.deadline - time.monotonic()))
    if new is None:
        return answer
    return with_new_items(answer, new.answer.result(max(0.0, new.deadline - time.monotonic())), piece.query.k)


def with_new_items(answer: CandidateAnswer, new: CandidateAnswer, k: int) -> CandidateAnswer:
    """The answer with the new items that it lacks at its end, in the place of its last others: at most `k` items.

    New items that came by their scores count for the quota. An answer of another space, or of several, stays as it is.
    """
    quota = set(new.item_ids)
    met = sum(item in quota for item in answer.item_ids)
    if _space(answer) is None or _space(answer) != _space(new):
        return replace(answer, new_items=met)
    there = set(answer.item_ids)
    added = [place for place, item in enumerate(new.item_ids) if item not in there]
    droppable = [place for place, item in enumerate(answer.item_ids) if item not in quota]
    surplus = max(0, len(answer.item_ids) + len(added) - k)
    dropped = set(droppable[len(droppable) - surplus :])
    kept = [place for place in range(len(answer.item_ids)) if place not in dropped]
    return replace(
        answer,
        item_ids=[*(answer.item_ids[place] for place in kept), *(new.item_ids[place] for place in added)],
        scores=[*(answer.scores[place] for place in kept), *(new.scores[place] for place in added)],
        attributes=_joined(answer.attributes, kept, new.attributes, added),
        truncated=answer.truncated or new.truncated,
        new_items=met + len(added),
    )


def _space(answer: CandidateAnswer) -> str | None:
    """The one space that an answer is of; None where it is of several."""
    return answer.sources[0].space_id if len(answer.sources) == 1 else None


def _joined(
    first: Mapping[str, ValueColumn], kept: list[int], second: Mapping[str, ValueColumn], added: list[int]
) -> dict[str, ValueColumn]:
    """Values of the kept items, then those of the added ones."""
    joined = {}
    for name, column in first.items():
        other = second[name].values if name in second else ((),) * (max(added, default=-1) + 1)
        values = (*(column.values[place] for place in kept), *(other[place] for place in added))
        joined[name] = ValueColumn(values, column.several)
    return joined
