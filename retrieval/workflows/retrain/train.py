"""Step `train`: a version of this log and these settings, found or trained."""

from __future__ import annotations

from retrieval.registry import VersionRow
from retrieval.storage.keys import half_key
from retrieval.towers.artifact import FEATURES_KIND, VERSION_KIND
from retrieval.training.journal import METRICS, read_journal
from retrieval.training.warm_start import STATE_KIND, WarmStart
from retrieval.types import ModelVersion
from retrieval.workflows.retrain.standing import live_before
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings, Values
from retrieval.workflows.training.own_code import own_code
from retrieval.workflows.training.train import train_version
from retrieval.workflows.workspace import Workspace

_ALIKE = ("towers", "features")
"""Sections that must be as they were, for weights to be carried over."""


def _inputs(around: Surroundings, outputs: Outputs) -> Values:
    parent = _parent(around, outputs)
    settings = around.workspace.settings
    return {
        "snapshot": outputs["histories"]["snapshot"],
        "parent": str(parent.id) if parent else "",
        "positive_actions": list(settings.data.positive_actions),
        "own_code": dict(own_code(settings)),
    }


def _parent(around: Surroundings, outputs: Outputs) -> VersionRow | None:
    """The version that training begins with: the newest that was live, knows another log than this, kept its training's
    state, and has towers and features as the settings declare them.
    """
    settings = around.workspace.settings
    if not settings.retrain.warm_start:
        return None
    snapshot = outputs["histories"]["snapshot"]
    live = live_before(around.registry, around.store, around.workspace.model, not_snapshot=snapshot)
    if live is None or not around.store.exists(half_key(live.version.key, STATE_KIND)):
        return None
    made_with = around.store.manifest(live.version.key, kind=VERSION_KIND).facts.get("settings", {})
    alike = all(made_with.get(name) == getattr(settings, name).model_dump(mode="json") for name in _ALIKE)
    return live.version if alike else None


def _warm_start(around: Surroundings, parent: VersionRow | None) -> WarmStart | None:
    """What training begins with, read and verified. Raises ArtifactError."""
    if parent is None:
        return None
    state = around.store.open_artifact(half_key(parent.key, STATE_KIND), kind=STATE_KIND)
    features = around.store.open_artifact(half_key(parent.key, FEATURES_KIND), kind=FEATURES_KIND)
    return WarmStart(str(parent.id), parent.space_id, state, features)


def _run(around: Surroundings, outputs: Outputs) -> Made:
    parent = _parent(around, outputs)
    config = around.workspace.settings.retrain
    workspace = _with_epochs(around.workspace, config.warm_epochs if parent else None)
    found = train_version(workspace, warm=_warm_start(around, parent), keep_state=config.warm_start, show=around.show)
    row = found.version
    losses = [line.get("loss") for line in read_journal(around.store.locate(row.key) / METRICS) if _of_epoch(line)]
    began = f"with the weights of {parent.id}" if parent else "from scratch"
    around.say(f"train: {row.id} {'was there' if found.found else f'is trained, {began}'}")
    return Made(
        output={
            "version": row.version,
            "space_id": row.space_id,
            "key": row.key,
            "digest": row.digest,
            "inputs_hash": row.inputs_hash,
            "parent": str(parent.id) if parent else "",
            "losses": losses,
            "metrics": dict(row.metrics),
        }
    )


def _with_epochs(workspace: Workspace, epochs: int | None) -> Workspace:
    if epochs is None:
        return workspace
    overrides = (*workspace.overrides, f"training.epochs={epochs}")
    return Workspace.open(workspace.root, overrides, recipe=workspace.recipe)


def _of_epoch(line: Values) -> bool:
    return line.get("kind") == "train"


def _holds(around: Surroundings, output: Values) -> bool:
    row = around.registry.get_version(ModelVersion(around.workspace.model, int(output["version"])))
    return row.state == "ready" and around.store.exists(row.key)


STEP = Step(
    name="train",
    about="Both towers, from the version that is live or from scratch; measured, exported and registered",
    after=("histories", "check_data"),
    settings=(
        "features",
        "towers",
        "training",
        "corpus",
        "data.split",
        "retrain.warm_start",
        "retrain.warm_epochs",
    ),
    code=("data", "features", "towers", "training"),
    inputs=_inputs,
    run=_run,
    holds=_holds,
)
