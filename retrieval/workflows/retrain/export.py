"""Step `export`: both halves of the version in the store, every file of them as its manifest says.

Training exports as its last act, and compares what is served with what was trained; this reads all of it again.
"""

from __future__ import annotations

from retrieval.towers.artifact import VERSION_KIND
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings, Values


def _inputs(_: Surroundings, outputs: Outputs) -> Values:
    trained = outputs["train"]
    return {"key": trained["key"], "digest": trained["digest"], "space_id": trained["space_id"]}


def _run(around: Surroundings, outputs: Outputs) -> Made:
    key, digest = outputs["train"]["key"], outputs["train"]["digest"]
    around.store.open_artifact(key, kind=VERSION_KIND, digest=digest)
    size = around.store.size(key)
    around.say(f"export: {key} is whole, {size:,} bytes")
    return Made(output={"key": key, "digest": digest, "bytes": size})


def _holds(around: Surroundings, output: Values) -> bool:
    return around.store.exists(str(output["key"]))


STEP = Step(
    name="export",
    about="Both towers in the store, every file as its manifest says",
    after=("train", "check_model"),
    code=("storage",),
    inputs=_inputs,
    run=_run,
    holds=_holds,
)
