"""Step `index`: the corpus encoded by the version's item tower, and linked into shards."""

from __future__ import annotations

from retrieval.types import BuildId, ModelVersion
from retrieval.workflows.indexing.build import build_version_index
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings, Values


def _inputs(_: Surroundings, outputs: Outputs) -> Values:
    trained = outputs["train"]
    return {
        "snapshot": outputs["histories"]["snapshot"],
        "version": trained["version"],
        "space_id": trained["space_id"],
    }


def _run(around: Surroundings, outputs: Outputs) -> Made:
    version = ModelVersion(around.workspace.model, int(outputs["train"]["version"]))
    device = around.workspace.settings.training.device
    row = build_version_index(around.workspace, version, device=device, show=around.show).build
    around.say(f"index: {row.id}, {row.items:,} items in {row.shards} shards, recall {row.recall}")
    return Made(
        output={
            "build": row.number,
            "key": row.key,
            "digest": row.digest,
            "items": row.items,
            "shards": row.shards,
            "recall": row.recall,
            "at_us": row.at_us,
        }
    )


def _holds(around: Surroundings, output: Values) -> bool:
    row = around.registry.get_build(BuildId(around.workspace.model, int(output["build"])))
    return row.state == "ready" and around.store.exists(row.key)


STEP = Step(
    name="index",
    about="The corpus encoded by the version's item tower, linked into shards",
    after=("train", "check_model", "export"),
    settings=("index", "corpus", "data.split"),
    code=("index", "data/corpus"),
    inputs=_inputs,
    run=_run,
    holds=_holds,
)
