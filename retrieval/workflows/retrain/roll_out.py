"""Step `roll_out`: the build comes to the hosts, one after another."""

from __future__ import annotations

from retrieval.types import BuildId
from retrieval.workflows.fleet.deployment import deploy_build
from retrieval.workflows.retrain.standing import live_before
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings, Values


def _inputs(around: Surroundings, outputs: Outputs) -> Values:
    # whose place it takes: where another version went live since, the build may come back
    before = live_before(
        around.registry, around.store, around.workspace.model, not_version=int(outputs["train"]["version"])
    )
    return {
        "build": outputs["index"]["build"],
        "digest": outputs["index"]["digest"],
        "replaces": str(before.version.id) if before else "",
    }


def _run(around: Surroundings, outputs: Outputs) -> Made:
    build = BuildId(around.workspace.model, int(outputs["index"]["build"]))
    active = around.registry.active_build(build.model)
    if active is not None and active.id == build and around.registry.running_deployment(build.model) is None:
        around.say(f"roll_out: {build} is served already")
        return Made(output={"build": build.number, "hosts": [], "deployment": None})
    rollout = around.workspace.settings.rollout
    hosts = around.registry.hosts(build.model, role="ann", alive_within_s=rollout.host_lost_s)
    report = deploy_build(around.workspace, build, without_hosts=not hosts, say=around.say)
    changed = [host.host_id for host in report.hosts if host.outcome != "down"]
    around.say(f"roll_out: {build} is live on {len(changed)} hosts")
    return Made(output={"build": build.number, "hosts": changed, "deployment": report.deployment.id})


STEP = Step(
    name="roll_out",
    about="The build comes to the hosts, one after another; back where one can't load it",
    after=("train", "index", "check_serving", "publish"),
    inputs=_inputs,
    run=_run,
)
