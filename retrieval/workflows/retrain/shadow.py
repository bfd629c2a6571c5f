"""Step `shadow`: the build answers, by services that nobody else knows of, before any host serves it.

The same users through the trained, the exported and the served tower; the test targets, asked for as users would; the
live version's towers crossed with its own; recent requests, asked of both.
"""

from __future__ import annotations

from dataclasses import asdict

from retrieval.rollout.gates.facts import ServingFacts
from retrieval.types import BuildId
from retrieval.workflows.evaluation.shadow.measure import measure_shadow
from retrieval.workflows.retrain.standing import live_before
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings, Values


def _inputs(around: Surroundings, outputs: Outputs) -> Values:
    version = int(outputs["train"]["version"])
    live = live_before(around.registry, around.store, around.workspace.model, not_version=version)
    return {
        "build": outputs["index"]["build"],
        "digest": outputs["index"]["digest"],
        "snapshot": outputs["histories"]["snapshot"],
        "live": str(live.build.id) if live else "",
    }


def _run(around: Surroundings, outputs: Outputs) -> Made:
    model = around.workspace.model
    live = live_before(around.registry, around.store, model, not_version=int(outputs["train"]["version"]))
    build = around.registry.get_build(BuildId(model, int(outputs["index"]["build"])))
    facts = measure_shadow(
        around.workspace,
        build,
        live.build if live else None,
        requests=around.workspace.settings.retrain.shadow_requests,
    )
    around.say(f"shadow: {_said(facts)}")
    return Made(output={"facts": asdict(facts)})


def _said(facts: ServingFacts) -> str:
    found = [f"{facts.build} answers"]
    if facts.lost is not None:
        found.append(f"HR@{facts.lost.k} {facts.lost.served:.4f} served, {facts.lost.measured:.4f} measured")
    if facts.replay is not None:
        found.append(f"{facts.replay.overlap:.0%} of what {facts.live} answers, p99 {facts.replay.p99_ms:.1f} ms")
    return ", ".join(found)


STEP = Step(
    name="shadow",
    about="The build answers, by services that nobody else knows of, beside the live one",
    after=("train", "histories", "index", "check_build"),
    settings=("retrain.shadow_requests", "evaluation", "corpus", "serving", "data.split"),
    code=("serving", "workflows/evaluation", "towers", "index"),
    inputs=_inputs,
    run=_run,
)
