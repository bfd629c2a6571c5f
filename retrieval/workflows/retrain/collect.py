"""Step `collect`: the newest versions and builds stay, and what anything needs; the rest goes."""

from __future__ import annotations

from retrieval.workflows.fleet.deployment import collect_garbage
from retrieval.workflows.retrain.leftovers import remove_leftovers
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings, Values


def _inputs(_: Surroundings, outputs: Outputs) -> Values:
    return {"build": outputs["roll_out"]["build"], "snapshot": outputs["histories"]["snapshot"]}


def _run(around: Surroundings, outputs: Outputs) -> Made:
    report = collect_garbage(around.workspace)
    removed = remove_leftovers(around.workspace, around.registry, keep=str(outputs["histories"]["snapshot"]))
    names = [one.name for one in report.collected]
    around.say(f"collect: {', '.join([*names, *removed]) or 'nothing to delete'}")
    return Made(output={"collected": names, "freed_bytes": report.freed_bytes, "removed": removed})


STEP = Step(
    name="collect",
    about="The newest versions and builds stay, and what anything needs; the rest goes",
    after=("histories", "roll_out"),
    settings=("rollout.keep_builds", "serving.towers_kept", "retrain.keep_logs"),
    code=("rollout/collect",),
    inputs=_inputs,
    run=_run,
)
