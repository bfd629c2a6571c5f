from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_counts_are_exact_however_many_values_there_are() -> None:
    counter = Counter()
    blocks = 23
    for block in range(blocks):
        counter.add({f"{block}-{n}": 3 for n in range(100_000)})
    made = counter.vocabulary(min_count=3, max_size=None, oov_buckets=1)
    assert len(made.words) == blocks * 100_000


def test_what_is_not_learned_is_said(caplog: pytest.LogCaptureFixture) -> None:
    counter = Counter()
    counter.add({"often": 9, "twice": 2, "thrice": 3, "once": 1})
    with caplog.at_level("INFO"):
        made = counter.vocabulary(min_count=2, max_size=1, oov_buckets=1, name="brand")
    assert made.words == ("often",)
    assert "brand: 3 of 4 values are not learned (seen less than 2 times: 1, beyond max_size: 2)" in caplog.text
    caplog.clear()
    counter.vocabulary(min_count=1, max_size=None, oov_buckets=1, name="brand")
    assert not caplog.text


def test_a_word_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Vocabulary(["a", "a"], 1)


MANY = Vocabulary((f"w{n}" for n in range(20_000)), oov_buckets=3)


raw = st.one_of(st.integers(0, 30_000).map("w{}".format), st.none(), st.integers(0, 9), st.text())


@given(st.lists(raw, min_size=64))
def test_many_values_get_the_codes_that_each_alone_gets(values: list[object]) -> None:
    assert MANY.codes(values) == MANY.array(values).tolist() == [MANY.code(value) for value in values]
    assert MANY.prepare()


def test_every_one_of_many_words_has_its_code() -> None:
    assert MANY.codes(MANY.words) == list(range(4, 20_004))
    with pytest.raises(TypeError):
        MANY.codes([["not", "hashable"]] * 64)


def test_words_of_one_hash_are_looked_up_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.features.hashed._hashes", lambda values: np.zeros(len(values), np.int64))
    vocabulary = Vocabulary(MANY.words, oov_buckets=1)
    assert vocabulary.codes(MANY.words[:100]) == list(range(2, 102))
    assert not vocabulary.prepare()


def test_another_process_hashes_in_its_own_way(tmp_path: Path) -> None:
    assert MANY.prepare()
    (tmp_path / "vocabulary").write_bytes(pickle.dumps(MANY))
    code = f"""import pickle; made = pickle.loads(open({str(tmp_path / "vocabulary")!r}, "rb").read())
assert made.codes(made.words) == list(range(4, 20_004))"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONHASHSEED": "5"})
