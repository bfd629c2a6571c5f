"""All gates of a stage, asked in order."""

from __future__ import annotations

from collections.abc import Sequence

from retrieval.rollout.gates import GATES
from retrieval.rollout.gates.config import GatesConfig
from retrieval.rollout.gates.gate import Facts, Stage, Verdict, judge


def judge_all(stage: Stage, facts: Facts, config: GatesConfig) -> list[Verdict]:
    """What each gate of the stage says that isn't turned off; all are asked, so that all reasons are known at once."""
    return [
        judge(name, gate, config.threshold(name), facts, warns=name in config.warn)
        for name, gate in GATES.items()
        if gate.stage == stage and name not in config.off
    ]


def refusal(verdicts: Sequence[Verdict]) -> str:
    """The sentences of those that refuse, for people; empty where none does."""
    return _said(verdicts, "refused")


def warning(verdicts: Sequence[Verdict]) -> str:
    """The sentences of those that warn."""
    return _said(verdicts, "warned")


def _said(verdicts: Sequence[Verdict], outcome: str) -> str:
    return "; ".join(f"{one.gate}: {one.sentence}" for one in verdicts if one.outcome == outcome)
