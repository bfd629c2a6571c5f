"""Losses from stage to stage add up, have paired intervals, and are named where they are over a limit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from retrieval.evaluation.bootstrap import Bootstrap
from retrieval.evaluation.reports.markdown import markdown_text
from retrieval.evaluation.reports.page import Page, Section
from retrieval.evaluation.reports.served import served_blocks
from retrieval.evaluation.served import ServedQuality
from retrieval.evaluation.stages import StageHits, Stages, make_stages
from retrieval.types import BuildId, ModelVersion

USERS = np.arange(200)


def stages(*rates: float, users: np.ndarray = USERS) -> Stages:
    """The first so many targets are found at each stage."""
    hits = [np.arange(len(users)) < round(rate * len(users)) for rate in rates]
    return make_stages(10, users, [StageHits(f"s{i}", f"part {i}", one) for i, one in enumerate(hits)])


def test_the_losses_add_up_to_the_whole() -> None:
    found = stages(0.8, 0.5, 0.6, 0.55)
    losses = [stage.loss.value for stage in found.stages if stage.loss is not None]
    assert losses == pytest.approx([0.3, -0.1, 0.05])
    assert found.whole.value == pytest.approx(sum(losses)) == pytest.approx(found.first.hit_rate - found.last.hit_rate)
    assert [stage.hit_rate for stage in found.stages] == pytest.approx([0.8, 0.5, 0.6, 0.55])


def test_intervals_are_paired_and_of_whole_users() -> None:
    users = np.repeat(np.arange(20), 10)
    found = stages(0.8, 0.5, users=users)
    gap = np.arange(200) < 160
    other = np.arange(200) < 100
    expected = Bootstrap(users).differences({"x": gap.astype(float)}, {"x": other.astype(float)})["x"]
    assert found.stages[1].loss == expected
    assert found.users == 20
    same = stages(0.5, 0.5)
    assert same.stages[1].loss is not None
    assert same.stages[1].loss.interval == (0.0, 0.0)


def test_what_is_over_the_limit_is_named_unless_it_may_be_chance() -> None:
    (problem,) = stages(0.8, 0.8, 0.7).over(0.05)
    assert "at the stage 's2': part 2" in problem
    assert "0.1000" in problem
    assert stages(0.8, 0.7).over(0.1) == []
    assert stages(0.5, 0.6).over(0.01) == []  # a gain
    place = np.arange(200)
    before, after = place < 100, (place >= 50) & (place < 144)  # 6 less in all, but 50 others
    noise = make_stages(10, USERS, [StageHits("a", "", before), StageHits("b", "", after)])
    assert noise.over(0.01) == []


def test_small_losses_that_add_up_are_seen() -> None:
    (problem,) = stages(0.8, 0.77, 0.74, 0.71).over(0.05)
    assert "lost in all, at no stage more than 0.05" in problem


def test_a_loss_that_is_one_of_the_question_is_no_problem() -> None:
    hits = [np.arange(200) < found for found in (160, 100, 96)]
    measured = [StageHits("a", "", hits[0]), StageHits("b", "", hits[1], counts=False), StageHits("c", "", hits[2])]
    found = make_stages(10, USERS, measured)
    assert found.over(0.05) == []
    assert found.whole.value == pytest.approx(0.32)
    assert found.counted.value == pytest.approx(0.02)
    assert len(found.over(0.001)) == 1


def test_the_page_and_the_json_hold_every_stage() -> None:
    quality = ServedQuality(
        version=ModelVersion("shop", 3),
        build=BuildId("shop", 4),
        asked="127.0.0.1:1",
        split="time test",
        available=900,
        stages=stages(0.8, 0.6),
        max_loss=0.01,
        remarks=("A <remark>",),
    )
    body = json.loads(json.dumps(quality.to_dict()))
    assert (body["version"], body["build"], body["available_targets"]) == ("shop@3", "shop-b4", 900)
    assert [stage["name"] for stage in body["stages"]] == ["s0", "s1"]
    assert body["problems"] == quality.problems() != []
    page = markdown_text(Page("x", (Section("Served", tuple(served_blocks(quality))),)), {})
    for text in ("s0", "part 1", "0.8000", "+0.2000", "whole", "200 of 900 targets", "&lt;remark&gt;"):
        assert text in page
