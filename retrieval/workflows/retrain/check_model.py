"""Step `check_model`: the gates about the trained version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from retrieval.rollout.gates.facts import Gap, ModelFacts, SliceGap, Vectors
from retrieval.rollout.gates.judging import judge_all
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings, Values


def _inputs(_: Surroundings, outputs: Outputs) -> Values:
    return {"facts": outputs["evaluate"]["facts"], "version": outputs["train"]["version"]}


def _run(around: Surroundings, outputs: Outputs) -> Made:
    verdicts = judge_all("model", model_facts(outputs["evaluate"]["facts"]), around.workspace.settings.gates)
    return Made(
        output={"verdicts": [asdict(one) for one in verdicts]},
        verdicts=tuple(verdicts),
        version=int(outputs["train"]["version"]),
    )


def model_facts(values: Mapping[str, Any]) -> ModelFacts:
    """The facts that step `evaluate` recorded."""
    gaps = {who: {metric: Gap(**gap) for metric, gap in found.items()} for who, found in values["gaps"].items()}
    given = {
        **values,
        "losses": tuple(values["losses"]),
        "gaps": gaps,
        "vectors": Vectors(**values["vectors"]),
        "slices": tuple(SliceGap(**one) for one in values.get("slices", ())),
    }
    return ModelFacts(**given)


STEP = Step(
    name="check_model",
    about="Gates about the version: loss, vectors, metrics and slices against the live version, popularity, coverage",
    after=("train", "evaluate"),
    settings=("gates",),
    code=("rollout/gates",),
    inputs=_inputs,
    run=_run,
)
