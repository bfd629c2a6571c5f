"""Step `verify`: every file of the build, its canary answers, its golden items encoded anew."""

from __future__ import annotations

from retrieval.types import BuildId
from retrieval.workflows.indexing.verify import verify_version_index
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings, Values


def _inputs(_: Surroundings, outputs: Outputs) -> Values:
    return {"build": outputs["index"]["build"], "digest": outputs["index"]["digest"]}


def _run(around: Surroundings, outputs: Outputs) -> Made:
    build = BuildId(around.workspace.model, int(outputs["index"]["build"]))
    found = verify_version_index(
        around.workspace, build, device=around.workspace.settings.training.device, show=around.show
    )
    around.say(f"verify: {build} is sound, {found.golden_items} golden items are encoded as before")
    return Made(output={"items": found.items, "recall": found.recall, "golden_cosine": found.golden_cosine})


STEP = Step(
    name="verify",
    about="Every file of the build, its canary answers, its golden items encoded anew",
    after=("index",),
    code=("index", "towers"),
    inputs=_inputs,
    run=_run,
)
