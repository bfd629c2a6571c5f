from __future__ import annotations

import pytest

from retrieval.features import vocabulary
from retrieval.features.vocabulary import Counter, Vocabulary, stable_hash


def test_most_frequent_first_ties_by_text() -> None:
    counter = Counter()
    counter.add({"b": 2, "a": 2})
    counter.add({"c": 3, "rare": 1})
    assert counter.vocabulary(min_count=2, max_size=None, oov_buckets=1).words == ("c", "a", "b")
    assert counter.vocabulary(min_count=1, max_size=1, oov_buckets=1).words == ("c",)


def test_unknown_values_share_the_buckets_before_the_known() -> None:
    made = Vocabulary(["x"], 4)
    assert made.cardinality == 6
    assert made.code("x") == 5
    assert made.code(None) == 0
    assert {made.code(f"new{n}") for n in range(100)} == {1, 2, 3, 4}


def test_the_hash_never_changes() -> None:
    # stored embeddings depend on it
    assert stable_hash("item") == 0xD8F8D8FF3CAB8A84
    assert stable_hash("\ud800") >= 0


def test_counting_is_bounded_and_keeps_the_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "_PRUNE_AT", 10)
    counter = Counter()
    for block in range(50):
        counter.add({"often": 5, **{f"{block}-{n}": 1 for n in range(8)}})
    assert len(counter._counts) <= 10
    assert counter.vocabulary(min_count=100, max_size=1, oov_buckets=1).words == ("often",)


def test_a_word_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Vocabulary(["a", "a"], 1)
