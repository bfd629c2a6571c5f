"""Where the halves of a model version lie in the store, and what is written beside their weights. Needs no torch.

models/<model>/<version>/MANIFEST.json        kind model_version: facts of the whole
                        /user_tower/          kind user_tower: model.onnx, tokens.bin, meta.json
                        /item_tower/          kind item_tower: weights.safetensors, config.json
                        /features/            kind features: what Features.save wrote
                        /training_state/      kind training_state: for a warm start, where it was asked for
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrieval.errors import ArtifactError
from retrieval.features import FeatureInput, Features
from retrieval.storage import ArtifactStore, read_manifest
from retrieval.storage.keys import half_key, version_key
from retrieval.types import ModelVersion, SpaceId

VERSION_KIND, USER_KIND, ITEM_KIND, FEATURES_KIND = "model_version", "user_tower", "item_tower", "features"
ONNX_FILE, META_FILE, WEIGHTS_FILE, CONFIG_FILE = "model.onnx", "meta.json", "weights.safetensors", "config.json"
TOKENS_FILE = "tokens.bin"
"""Tokens of all items' codes, float32 [V + S, D], row after row: data of model.onnx that lies beside it, so that it is
mapped and not copied when it is served, and may be larger than the 2 GiB that a model.onnx may hold."""
METRIC = "cosine"


def input_key(feature: FeatureInput) -> str:
    """Name of a profile or context feature among the user tower's inputs."""
    return f"{feature.side}_{feature.name}"


def open_half(store: ArtifactStore, version: ModelVersion, kind: str) -> tuple[Path, SpaceId]:
    """A verified folder of one half of a version, and the space that its manifest names.

    Raises NotFoundError where the store has no such version, ArtifactError where a file is damaged or another's.
    """
    folder = store.open_artifact(half_key(version_key(version), kind), kind=kind)
    facts = read_manifest(folder).facts
    found = (facts.get("model"), facts.get("version"))
    if found != (version.model, version.version):
        raise ArtifactError(f"{folder}: {kind} of {found[0]}@{found[1]}, expected that of {version}")
    space = facts.get("space_id")
    if not isinstance(space, str) or not space:
        raise ArtifactError(f"{folder}: its manifest names no embedding space")
    return folder, SpaceId(space)


def open_features(store: ArtifactStore, version: ModelVersion, space: SpaceId) -> Features:
    """The fitted features of a version, which must be of the space `space`. Raises as `open_half`."""
    folder, found = open_half(store, version, FEATURES_KIND)
    if found != space:
        raise ArtifactError(f"{folder}: features of space {found}, the tower is of space {space}")
    features = Features.load(folder)
    recorded = read_manifest(folder).facts.get("fingerprint")
    if features.fingerprint != recorded:
        raise ArtifactError(f"{folder}: features with fingerprint {features.fingerprint}, recorded was {recorded}")
    return features


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON object from a verified artifact. Raises ArtifactError."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: can't be read as JSON: {error}") from error
    if not isinstance(body, dict):
        raise ArtifactError(f"{path}: expected a JSON object, found {type(body).__name__}")
    return body
