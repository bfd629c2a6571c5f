"""A quota of an answer's places for new items: asked for beside the answer, and put at its end."""

from __future__ import annotations

import time

import hypothesis.strategies as st
import pytest
from hypothesis import given

from retrieval.filters.filter import AllOf, AnyOf
from retrieval.filters.values import ValueColumn
from retrieval.index.query import Query
from retrieval.serving.core.answer import CandidateAnswer, Source, Timings
from retrieval.serving.core.exploration import new_items_of, result_of, with_new_items
from retrieval.serving.core.pending import Pending
from retrieval.towers.user_input import UserInput
from retrieval.types import ModelVersion, SpaceId

RED, NEW = AnyOf("colour", ("red",)), AnyOf("_new", (True,))


def _source(space: str = "a") -> Source:
    return Source(ModelVersion("demo", 1), SpaceId(space * 64), (1,), (0,))


def _answer(items: str, *, space: str = "a", sources: int = 1, scores: list[float] | None = None) -> CandidateAnswer:
    made = scores or [1.0 - place / 100 for place in range(len(items))]
    colour = ValueColumn(tuple((item.lower(),) for item in items))
    return CandidateAnswer(
        list(items),
        made,
        tuple(_source(space) for _ in range(sources)),
        [],
        by_rank=sources > 1,
        shards_asked=1,
        shards_answered=1,
        known=True,
        user_us=0,
        timings=Timings(),
        attributes={"lower": colour},
    )


def _pending(k: int, *, filtered: bool = False) -> Pending:
    query = Query(k, filter=RED if filtered else None, exclude=["x"])
    return Pending(UserInput(at=5), query, time.monotonic() + 5)


def test_the_quota_is_asked_for_with_all_that_the_request_asks_for() -> None:
    piece = _pending(11, filtered=True)
    new = new_items_of(piece, 0.3)
    assert new is not None
    assert (new.query.k, new.query.filter, new.query.exclude) == (3, AllOf((RED, NEW)), ["x"])
    assert (new.user, new.deadline) == (piece.user, piece.deadline)
    plain = new_items_of(_pending(10), 0.1)
    assert plain is not None
    assert (plain.query.k, plain.query.filter) == (1, NEW)


@pytest.mark.parametrize(("k", "share"), [(100, 0.0), (9, 0.1), (1, 0.5)])
def test_without_a_whole_place_nothing_is_asked_for(k: int, share: float) -> None:
    assert new_items_of(_pending(k), share) is None


@pytest.mark.parametrize(
    ("items", "new", "k", "expected", "count"),
    [
        ("abcde", "XY", 5, "abcXY", 2),
        ("abXde", "XY", 5, "abXdY", 2),
        ("aXYde", "XY", 5, "aXYde", 2),
        ("abcX", "XY", 4, "abXY", 2),
        ("ab", "XY", 5, "abXY", 2),
        ("abcde", "", 5, "abcde", 0),
        ("", "XY", 5, "XY", 2),
    ],
)
def test_what_an_answer_holds_then(items: str, new: str, k: int, expected: str, count: int) -> None:
    made = with_new_items(_answer(items), _answer(new), k)
    assert "".join(made.item_ids) == expected
    assert made.new_items == count
    assert len(made.scores) == len(made.item_ids)
    assert made.attributes["lower"].values == tuple((item.lower(),) for item in expected)


def test_scores_of_other_spaces_are_not_mixed() -> None:
    answer = _answer("abX")
    for other in (_answer("XY", space="b"), _answer("XY", sources=2)):
        made = with_new_items(answer, other, 3)
        assert (made.item_ids, made.new_items) == (answer.item_ids, 1)


@given(st.sets(st.sampled_from("abcdefgh")), st.sets(st.sampled_from("TUVWXYZ")), st.integers(0, 3), st.data())
def test_never_longer_and_the_quota_is_met(old: set[str], new: set[str], met: int, data: st.DataObject) -> None:
    quota = "".join(sorted(new))[:3]
    mixed = data.draw(st.permutations([*sorted(old), *quota[:met]]))
    k = max(len(mixed), len(quota), 1)
    made = with_new_items(_answer("".join(mixed)), _answer(quota), k)
    assert len(made.item_ids) == len(set(made.item_ids)) == min(k, len(set(mixed) | set(quota)))
    assert made.new_items == len(set(quota) & set(made.item_ids)) == len(quota)


def test_a_result_waits_for_both() -> None:
    piece = _pending(5)
    new = new_items_of(piece, 0.4)
    assert new is not None
    piece.settle(_answer("abcde"))
    new.settle(_answer("XY"))
    assert "".join(result_of(piece, new).item_ids) == "abcXY"
    assert "".join(result_of(piece, None).item_ids) == "abcde"


def test_a_result_fails_with_either() -> None:
    piece = _pending(5)
    new = new_items_of(piece, 0.4)
    assert new is not None
    piece.settle(_answer("abcde"))
    new.fail(ValueError("no such attribute"))
    with pytest.raises(ValueError, match="no such attribute"):
        result_of(piece, new)
