from __future__ import annotations

import re
from pathlib import Path

import retrieval
from retrieval.workflows.reference import LISTS, describe_strategies

ROOT = Path(retrieval.__file__).parent
DESCRIBED = {(one.setting, one.name): one for one in describe_strategies()}


def test_every_list_of_strategies_is_described() -> None:
    assigned = [path for path in ROOT.rglob("*.py") if re.search(r"(?m)^[A-Z_]+ = Strategies\(", path.read_text())]
    assert len(assigned) == len(LISTS)
    assert len(DESCRIBED) == sum(len(strategies.named) for strategies in LISTS.values())


def test_each_says_what_it_is_in_short_and_in_its_own_words() -> None:
    for one in DESCRIBED.values():
        assert one.summary
        assert one.docstring, one
        assert one.where.startswith("retrieval.")


def test_each_names_the_settings_that_only_it_reads() -> None:
    assert DESCRIBED["training.loss", "gbce"].settings == ("training.gbce_t",)
    assert DESCRIBED["training.negatives.more.source", "memory"].settings == ("training.negatives.memory_size",)
    assert DESCRIBED["evaluation.baselines", "recent_popularity"].settings == ("evaluation.recent_days",)
    assert DESCRIBED["features.*.kind", "numeric"].settings == ("method", "buckets")
    assert DESCRIBED["towers.encoder", "mean"].settings == ()
