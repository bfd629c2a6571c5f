"""Export: a trained pair of towers as one model version, its halves separate artifacts of one embedding space.

B batch, L history length with BOS, V codes of items in histories, S special codes, D width, E interests.
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from retrieval.errors import DivergedError
from retrieval.features import CODES_AND_TIMES, EncodedHistories, Events, FeatureInput, Features
from retrieval.storage import ArtifactStore, Manifest, write_manifest
from retrieval.storage.keys import version_key
from retrieval.towers.artifact import (
    CONFIG_FILE,
    FEATURES_KIND,
    ITEM_KIND,
    META_FILE,
    METRIC,
    ONNX_FILE,
    TOKENS_FILE,
    USER_KIND,
    VERSION_KIND,
    WEIGHTS_FILE,
    input_key,
)
from retrieval.towers.chunks import block_means
from retrieval.towers.offline import ItemInputs
from retrieval.towers.pair import TowerPair, not_finite, space_id
from retrieval.towers.runtime import UserTower, open_user_tower
from retrieval.training.warm_start import STATE_KIND, WriteState
from retrieval.types import ModelVersion

_TABLE_ROWS_AT_ONCE = 1 << 16
_OPSET = 20  # the first with Gelu
_BATCH, _LENGTH = 2, 3  # of the example that is traced
_TOKENS = "tokens"
_FLOAT_BYTES = 4


def export_version(
    store: ArtifactStore,
    version: ModelVersion,
    pair: TowerPair,
    features: Features,
    items: ItemInputs,
    *,
    facts: Mapping[str, Any],
    extra_files: Sequence[Path] = (),
    training_state: WriteState | None = None,
    check: Callable[[UserTower], None] | None = None,
) -> Manifest:
    """Write both towers and the features under one version and publish them; returns the version's manifest.

    `items` holds the catalog that history tokens are made from; `facts` goes into the manifest beside model, version,
    space_id, dim and metric; `extra_files` (metrics.jsonl, curves.png) lie beside the towers. `training_state` writes
    what a later version may begin with into a folder that it is given, with the facts of its manifest. `check` is
    given the user tower as it will be served, and may refuse it. Raises ConflictError where the version exists,
    DivergedError where a weight is not finite.
    """
    bad = not_finite(pair)
    if bad is not None:
        raise DivergedError(f"{version}: {bad} holds numbers that are not finite; it is not published")
    pair = pair.cpu().eval()
    space = space_id(pair, features)
    own = {"model": version.model, "version": version.version, "space_id": space, "dim": pair.dim, "metric": METRIC}
    staged = store.staging()
    try:
        write_user_tower(staged / USER_KIND, pair, features, items, own)
        if check is not None:
            check(open_user_tower(staged / USER_KIND, version, space, features))
        _write_item_tower(staged / ITEM_KIND, pair, own)
        features.save(staged / FEATURES_KIND)
        write_manifest(staged / FEATURES_KIND, FEATURES_KIND, {**own, "fingerprint": features.fingerprint})
        if training_state is not None:
            training_state(staged / STATE_KIND, facts=own)
        for path in extra_files:
            shutil.copy2(path, staged / path.name)
        write_manifest(staged, VERSION_KIND, {**facts, **own})
        return store.publish(staged, version_key(version))
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def write_user_tower(
    folder: Path, pair: TowerPair, features: Features, items: ItemInputs, facts: Mapping[str, Any]
) -> None:
    """Write tokens.bin, model.onnx (float32; batch and length free) and meta.json, then the manifest."""
    folder.mkdir(parents=True)
    history, examples = features.spec.history, _examples(features, _BATCH)
    special = pair.special.detach().clone()
    if history.older:  # padding fills up blocks of chunked events; elsewhere nothing sees it
        special[features.history_inputs().pad - items.tokens] = 0.0
    rows = _write_tokens(folder / TOKENS_FILE, pair, items, special)
    served = ServedUserTower(pair, tuple(examples)).eval()
    _to_onnx(served, special, tuple(examples.values()), folder / ONNX_FILE)
    _refer_to_tokens(folder / ONNX_FILE, rows, pair.dim)
    meta = {
        **facts,
        "interests": pair.config.interests,
        "encoder": pair.config.encoder,
        "history_length": history.length,
        "history_older": history.older,
    }
    (folder / META_FILE).write_text(json.dumps(meta, indent=1), encoding="utf-8")
    write_manifest(folder, USER_KIND, facts)


def _write_tokens(path: Path, pair: TowerPair, items: ItemInputs, special: Tensor) -> int:
    """Write what the served tower looks history items up in; returns its rows, V + S. Never holds all of it."""
    with torch.no_grad(), path.open("wb") as file:
        for codes in torch.split(torch.arange(items.tokens), _TABLE_ROWS_AT_ONCE):
            tokens = pair.item.represent(items.codes(codes), with_features=pair.config.item_features_in_history)
            tokens.numpy().tofile(file)
        special.numpy().tofile(file)
    return items.tokens + len(special)


def _refer_to_tokens(path: Path, rows: int, width: int) -> None:
    """Make of the model's input `tokens` data of the model, which lies in a file beside it."""
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    graph.input.remove(next(given for given in graph.input if given.name == _TOKENS))
    tokens = graph.initializer.add(name=_TOKENS, data_type=onnx.TensorProto.FLOAT, dims=(rows, width))
    tokens.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": TOKENS_FILE, "offset": 0, "length": rows * width * _FLOAT_BYTES}.items():
        tokens.external_data.add(key=key, value=str(value))
    path.write_bytes(model.SerializeToString())


class ServedUserTower(nn.Module):
    """The user tower as it is served: codes in, unit vectors out."""

    def __init__(self, pair: TowerPair, names: Sequence[str]) -> None:
        super().__init__()
        self.user = pair.user
        self.names = tuple(names)

    def forward(  # noqa: PLR0917  # ONNX knows positions only
        self,
        table: Tensor,
        items: Tensor,
        actions: Tensor,
        gaps: Tensor,
        times: Tensor,
        query_times: Tensor,
        lengths: Tensor,
        *rest: Tensor,
    ) -> Tensor:
        """Tokens [V + S, D], int64 [B, L] codes and µs, int64 [B] lengths; chunks, profile and context by `names`.

        Returns unit vectors [B, D], of several interests [B, E, D].
        """
        given = dict(zip(self.names, rest, strict=True))
        tokens = self.user.tokens(table, items, actions, gaps)
        if "older_items" in given:
            parts = (given[name] for name in ("older_items", "older_chunk", "older_sizes"))
            tokens = self.user.with_chunks(tokens, block_means(table, *parts), given)
        vectors: Tensor = self.user(tokens, lengths, times, query_times, given)
        return vectors


def _to_onnx(served: ServedUserTower, table: Tensor, examples: Sequence[Tensor], path: Path) -> None:
    history = [torch.zeros(_BATCH, _LENGTH, dtype=torch.int64) for _ in CODES_AND_TIMES]
    names = [_TOKENS, *CODES_AND_TIMES.values(), "lengths", *served.names]
    free = {name: _free_axes(name) for name in names}
    # without gradients: attention has a path of its own for training, which writes in place and can't be traced
    with _quiet(), torch.no_grad():
        # the tracing exporter: no tower branches on data, and it takes .1 s where dynamo's takes 5
        torch.onnx.export(
            served,
            (table, *history, torch.full((_BATCH,), _LENGTH), *examples),
            str(path),
            dynamo=False,
            opset_version=_OPSET,
            input_names=names,
            output_names=["vectors"],
            dynamic_axes={**free, "vectors": {0: "batch"}},
        )


def _free_axes(name: str) -> dict[int, str]:
    if name == _TOKENS:
        return {0: "codes"}
    if name in CODES_AND_TIMES.values():
        return {0: "batch", 1: "length"}
    if name in {"older_items", "older_chunk"}:
        return {0: "blocks"}
    return {0: "chunks" if name.startswith("older_") else "batch"}


def _examples(features: Features, rows: int) -> dict[str, Tensor]:
    """Inputs beside the histories and their lengths, by name: chunks where the features have them, both sides."""
    examples = {}
    if features.spec.history.older:
        zeros = np.zeros(rows, np.int64)
        one_each = Events(zeros, zeros, zeros, zeros + 1)
        chunks = features.lay_out(EncodedHistories(one_each, one_each), zeros).chunks
        served = {} if chunks is None else chunks.served(_LENGTH, 0)
        examples = {name: torch.from_numpy(values) for name, values in served.items()}
    side = (*features.inputs("user"), *features.inputs("context"))
    return {**examples, **{input_key(feature): _example(feature, rows) for feature in side}}


def _example(feature: FeatureInput, rows: int) -> Tensor:
    if feature.form == "codes":
        return torch.zeros(rows, dtype=torch.int64)
    dtype = torch.int64 if feature.form == "bag" else torch.float32
    return torch.zeros(rows, feature.width, dtype=dtype)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns and logs about its own insides; nothing in that is for the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _write_item_tower(folder: Path, pair: TowerPair, facts: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True)
    weights = {name: value.detach().contiguous() for name, value in pair.item.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)
    (folder / CONFIG_FILE).write_text(pair.config.model_dump_json(indent=1), encoding="utf-8")
    write_manifest(folder, ITEM_KIND, facts)
