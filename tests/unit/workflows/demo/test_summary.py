from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from retrieval.evaluation import EvaluationReport, ModelScores
from retrieval.evaluation.served import ServedQuality
from retrieval.evaluation.stages import StageHits, make_stages
from retrieval.types import BuildId, ModelVersion
from retrieval.workflows.demo.answers import Answer, Moment, Served, draw_timeline, versions_over_time
from retrieval.workflows.demo.summary import Summary

FIRST, SECOND = Served("demo@1", ("demo-b1",)), Served("demo@2", ("demo-b2",))


def _report(model: float) -> EvaluationReport:
    def scores(name: str, hit_rate: float) -> ModelScores:
        return ModelScores(name, {"hr@10": hit_rate, "ndcg@10": hit_rate / 2, "hr@100": hit_rate * 2}, {})

    baselines = (scores("popularity", 0.03), scores("covisitation", 0.12))
    return EvaluationReport("test", 10, 10, 40, True, 0, (10, 100), scores("demo", model), baselines, (), 0.1)


def _answer(at: float, served: Served, error: str = "") -> Answer:
    if error:
        return Answer(at, 1.0, "u1", 0, error=error)
    return Answer(at, 2.0 + at, "u1", 0, (served,), (), ("i1",), (0.5,))


def _served(lost: int = 0) -> ServedQuality:
    found = [np.arange(100) < hits for hits in (50, 50 - lost)]
    stages = make_stages(10, np.arange(100), [StageHits("trained", "", found[0]), StageHits("users", "", found[1])])
    return ServedQuality(ModelVersion("demo", 2), BuildId("demo", 2), "here", "time test", 100, stages, 0.01, ())


GOOD = Summary(
    versions=("demo@1", "demo@2"),
    reports=(_report(0.16), _report(0.15)),
    recalls=(1.0, 0.99),
    answers=[_answer(n / 10, FIRST if n % 30 < 15 else SECOND) for n in range(60)],
    moments=[Moment(1.5, "roll-out begins")],
    mismatches=0,
    active_after=("demo@2", "demo@1"),
    served=_served(),
    seconds=100.0,
    workspace=Path("/somewhere"),
    timeline=Path("/somewhere/timeline.png"),
)


def test_a_good_run_has_no_problems_and_says_so() -> None:
    out = io.StringIO()
    GOOD.show(Console(file=out, width=120))
    assert GOOD.problems() == []
    assert "All is as it should be" in out.getvalue()
    assert "roll-out begins" in out.getvalue()
    assert GOOD.to_dict()["failed_requests"] == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mismatches": 1}, "do not match the version"),
        ({"served": _served(lost=9)}, "at the stage 'users'"),
        ({"answers": [*GOOD.answers, _answer(7.0, FIRST, "UNAVAILABLE")]}, "UNAVAILABLE"),
        ({"answers": GOOD.answers[:15]}, "no answer came from demo@2"),
        ({"answers": [replace(a, item_ids=()) for a in GOOD.answers]}, "fewer than half"),
        ({"active_after": ("demo@2", "demo@2")}, "active after roll-out and roll-back"),
        ({"reports": (_report(0.16), _report(0.11))}, "does not beat covisitation"),
        ({"recalls": (1.0, 0.5)}, "recall against exact search is 0.500"),
    ],
)
def test_what_is_off_is_named(change: dict[str, object], said: str) -> None:
    problems = replace(GOOD, **change).problems()  # type: ignore[arg-type]
    assert len(problems) == 1
    assert said in problems[0]


def test_answers_are_counted_per_version_and_step() -> None:
    answers = [_answer(0.1, FIRST), _answer(0.2, SECOND), _answer(1.7, SECOND), _answer(1.8, FIRST, "gone")]
    assert versions_over_time(answers, width_s=1.0) == [
        (0.0, {"demo@1": 1, "demo@2": 1}),
        (1.0, {"demo@2": 1, "failed": 1}),
    ]


def test_the_timeline_is_a_picture(tmp_path: Path) -> None:
    draw_timeline(GOOD.answers, GOOD.moments, tmp_path / "timeline.png")
    assert (tmp_path / "timeline.png").read_bytes().startswith(b"\x89PNG")
