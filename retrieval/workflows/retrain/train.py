"""Step `train`: a version of this log and these settings, found or trained."""

from __future__ import annotations

from retrieval.training.journal import METRICS, read_journal
from retrieval.types import ModelVersion
from retrieval.workflows.retrain.standing import live_before
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings, Values
from retrieval.workflows.training.own_code import own_code
from retrieval.workflows.training.train import train_version


def _inputs(around: Surroundings, outputs: Outputs) -> Values:
    parent = _parent(around, outputs)
    settings = around.workspace.settings
    return {
        "snapshot": outputs["histories"]["snapshot"],
        "parent": str(parent) if parent else "",
        "positive_actions": list(settings.data.positive_actions),
        "own_code": dict(own_code(settings)),
    }


def _parent(around: Surroundings, outputs: Outputs) -> ModelVersion | None:
    """The version whose weights training begins with: the newest that was live and knows another log than this."""
    if not around.workspace.settings.retrain.warm_start:
        return None
    snapshot = outputs["histories"]["snapshot"]
    live = live_before(around.registry, around.store, around.workspace.model, not_snapshot=snapshot)
    return live.version.id if live else None


def _run(around: Surroundings, outputs: Outputs) -> Made:
    found = train_version(around.workspace, show=around.show)
    row = found.version
    losses = [line.get("loss") for line in read_journal(around.store.locate(row.key) / METRICS) if _of_epoch(line)]
    around.say(f"train: {row.id} {'was there' if found.found else 'is trained'}")
    return Made(
        output={
            "version": row.version,
            "space_id": row.space_id,
            "key": row.key,
            "digest": row.digest,
            "inputs_hash": row.inputs_hash,
            "parent": str(_parent(around, outputs) or ""),
            "losses": losses,
            "metrics": dict(row.metrics),
        }
    )


def _of_epoch(line: Values) -> bool:
    return line.get("kind") == "train"


def _holds(around: Surroundings, output: Values) -> bool:
    row = around.registry.get_version(ModelVersion(around.workspace.model, int(output["version"])))
    return row.state == "ready" and around.store.exists(row.key)


STEP = Step(
    name="train",
    about="Both towers, from the version that is live or from scratch; measured, exported and registered",
    after=("histories", "check_data"),
    settings=("features", "towers", "training", "corpus", "data.split"),
    code=("data", "features", "towers", "training"),
    inputs=_inputs,
    run=_run,
    holds=_holds,
)
