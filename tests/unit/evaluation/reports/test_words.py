from __future__ import annotations

import pytest

from retrieval.evaluation.bootstrap import Difference, Interval
from retrieval.evaluation.certainty import Comparison
from retrieval.evaluation.reports.words import metric_name, mixed, p_text, verdict


def comparison(**values: tuple[float, float, float, float]) -> Comparison:
    made = {f"{name}@10": Difference(v, Interval(low, high), p) for name, (v, low, high, p) in values.items()}
    return Comparison("m@2", "m@1", made, 0.4, 0.3, 0.3)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            (0.02, 0.01, 0.03, 0.004),
            "m@2 is better than m@1 in HR@10, by more than the choice of users explains: +0.0200",
        ),
        (
            (-0.02, -0.03, -0.01, 0.004),
            "m@2 is worse than m@1 in HR@10, by more than the choice of users explains: -0.0200",
        ),
        ((0.02, -0.01, 0.05, 0.2), "HR@10 of m@2 and m@1 can't be told apart"),
        ((0.0, 0.0, 0.0, 1.0), "have the same HR@10, target by target"),
    ],
)
def test_verdicts_say_whether_it_is_noise(found: tuple[float, float, float, float], said: str) -> None:
    assert said in verdict(comparison(hr=found), "hr@10", 2_000)


def test_metrics_that_disagree_are_pointed_out() -> None:
    up, down, unsure = (0.1, 0.05, 0.2, 0.01), (-0.1, -0.2, -0.05, 0.01), (-0.1, -0.2, 0.05, 0.3)
    assert mixed(comparison(hr=up, ndcg=unsure)) is None
    said = mixed(comparison(hr=up, ndcg=down))
    assert said == "The metrics disagree: m@2 is better in HR@10, worse in NDCG@10."


def test_p_is_not_smaller_than_what_was_drawn() -> None:
    assert p_text(2 / 2_001, 2_000) == "< 0.001"
    assert p_text(0.0123, 2_000) == "0.012"
    assert metric_name("popularity_bias@10") == "popularity bias@10"
