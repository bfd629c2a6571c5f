from __future__ import annotations

from dataclasses import replace

import pytest

from retrieval.errors import ConflictError, NotFoundError
from retrieval.registry import GateRow, Registry, RetrainRow, VersionRow, utc_now
from retrieval.types import BuildId, ModelVersion

VERSION = ModelVersion("feed", 1)


def verdict(run: RetrainRow, gate: str, outcome: str, *, version: int | None = 1, build: int | None = None) -> GateRow:
    return GateRow(
        id=0, model="feed", run=run.id, version=version, build=build, gate=gate, outcome=outcome,  # type: ignore[arg-type]
        measured=0.5, threshold=0.6, sentence=f"{gate} is {outcome}", forced="", at=utc_now(),
    )  # fmt: skip


def test_a_run_and_its_steps(registry: Registry) -> None:
    records = registry.retraining
    run = records.start("feed", 5, forced="", note="")
    assert (run.state, run.as_of_us, run.finished_at) == ("running", 5, None)
    begun = records.begin_step(run, "train", "a1", {"snapshot": "s"})
    assert records.find_step("feed", "train", "a1") == begun
    done = records.finish_step(replace(begun, state="done", output={"version": 1}, finished_at=utc_now()), run)
    assert records.find_step("feed", "train", "a1") == done
    assert records.find_step("feed", "train", "a2") is None
    assert [row.step for row in records.steps("feed")] == ["train"]
    ended = records.finish(run.id, "done", version=1, build=2, note="all of it")
    assert (ended.state, ended.version, ended.build) == ("done", 1, 2)
    assert records.runs("feed") == [ended]
    actions = [row.action for row in registry.audit(subject="feed")]
    assert actions == ["retrain.done", "retrain.start"]


def test_a_step_that_was_left_is_begun_again(registry: Registry) -> None:
    records = registry.retraining
    first = records.start("feed", 5)
    records.begin_step(first, "train", "a1", {})
    second = records.start("feed", 5)
    assert records.get_run(first.id).state == "interrupted"
    again = records.begin_step(second, "train", "a1", {})
    assert (again.attempts, again.run) == (2, second.id)


def test_a_run_whose_place_was_taken_changes_nothing(registry: Registry) -> None:
    records = registry.retraining
    first = records.start("feed", 5)
    begun = records.begin_step(first, "train", "a1", {})
    records.start("feed", 6)
    with pytest.raises(ConflictError, match="another took its place"):
        records.finish_step(replace(begun, state="done"), first)
    with pytest.raises(ConflictError, match="another took its place"):
        records.begin_step(first, "train", "a2", {})
    with pytest.raises(ConflictError, match="another took its place"):
        records.finish(first.id, "done")
    found = records.find_step("feed", "train", "a1")
    assert found is not None
    assert found.state == "running"
    with pytest.raises(NotFoundError):
        records.get_run(99)


def test_the_last_word_of_a_gate_counts_until_it_is_passed_over(registry: Registry) -> None:
    registry.add_version(VersionRow(model="feed", version=1, space_id="s"))
    records = registry.retraining
    run = records.start("feed", 5)

    def say(step: str, *rows: GateRow) -> None:
        begun = records.begin_step(run, step, step, {})
        records.finish_step(replace(begun, state="refused", finished_at=utc_now()), run, rows)

    say("a", verdict(run, "hit_rate", "refused"), verdict(run, "coverage", "passed"))
    say("b", verdict(run, "index_recall", "refused", build=3), verdict(run, "index_recall", "passed", build=4))
    assert [row.gate for row in records.refusals(VERSION)] == ["hit_rate"]
    assert [row.gate for row in records.refusals(VERSION, BuildId("feed", 3))] == ["hit_rate", "index_recall"]
    assert [row.gate for row in records.refusals(VERSION, BuildId("feed", 4))] == ["hit_rate"]
    say("c", verdict(run, "hit_rate", "passed"))
    assert records.refusals(VERSION) == []
    say("d", verdict(run, "hit_rate", "refused"))
    records.force(records.refusals(VERSION), "the holidays")
    assert records.refusals(VERSION) == []
    (audited,) = [row for row in registry.audit() if row.action == "gate.force"]
    assert (audited.subject, audited.details["reason"]) == ("feed@1", "the holidays")
    assert len(records.gates("feed", run=run.id)) == 6
