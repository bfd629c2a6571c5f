"""Step `verify`: every file of the build, its canary answers, its golden items encoded anew."""

from __future__ import annotations

from retrieval.errors import ArtifactError
from retrieval.types import BuildId
from retrieval.workflows.indexing.verify import verify_version_index
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings, Values


def _inputs(_: Surroundings, outputs: Outputs) -> Values:
    return {"build": outputs["index"]["build"], "digest": outputs["index"]["digest"]}


def _run(around: Surroundings, outputs: Outputs) -> Made:
    build = BuildId(around.workspace.model, int(outputs["index"]["build"]))
    try:
        found = verify_version_index(
            around.workspace, build, device=around.workspace.settings.training.device, show=around.show
        )
    except ArtifactError as error:
        if not around.workspace.settings.retrain.gates:
            raise
        # a gate of the next step refuses it, so that nothing else brings it to the hosts
        around.say(f"verify: {error}")
        return Made(output={"fault": str(error), "golden_cosine": None})
    around.say(f"verify: {build} is sound, {found.golden_items} golden items are encoded as before")
    return Made(output={"fault": "", "golden_cosine": found.golden_cosine})


def _holds(_: Surroundings, output: Values) -> bool:
    return output.get("fault") == ""  # after a fault, files may have been put back


STEP = Step(
    name="verify",
    about="Every file of the build, its canary answers, its golden items encoded anew",
    after=("index",),
    code=("index", "towers"),
    inputs=_inputs,
    run=_run,
    holds=_holds,
)
