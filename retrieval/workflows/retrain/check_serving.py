"""Step `check_serving`: the gates about the build as it answers."""

from __future__ import annotations

from dataclasses import asdict

from pydantic import TypeAdapter

from retrieval.rollout.gates.facts import ServingFacts
from retrieval.rollout.gates.judging import judge_all, warning
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings, Values

_FACTS = TypeAdapter(ServingFacts)


def _inputs(_: Surroundings, outputs: Outputs) -> Values:
    return {
        "facts": outputs["shadow"]["facts"],
        "version": outputs["train"]["version"],
        "build": outputs["index"]["build"],
    }


def _run(around: Surroundings, outputs: Outputs) -> Made:
    facts = serving_facts(outputs["shadow"]["facts"])
    verdicts = judge_all("serving", facts, around.workspace.settings.gates)
    said = warning(verdicts)
    if said:
        around.say(f"check_serving: to be known, no refusal: {said}")
    return Made(
        output={"verdicts": [asdict(one) for one in verdicts]},
        verdicts=tuple(verdicts),
        version=int(outputs["train"]["version"]),
        build=int(outputs["index"]["build"]),
    )


def serving_facts(values: Values) -> ServingFacts:
    """The facts that step `shadow` recorded."""
    return _FACTS.validate_python(values)


STEP = Step(
    name="check_serving",
    about="Gates about the build as it answers: parity, served quality, version skew, a replay of recent requests",
    after=("train", "index", "shadow"),
    settings=("gates",),
    code=("rollout/gates",),
    inputs=_inputs,
    run=_run,
)
