"""The served user tower: ONNX Runtime and the version's own features, no torch.

B batch, L history length with BOS, D width of the embedding, E interests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from retrieval.arrays import Ints, Vectors
from retrieval.errors import ArtifactError, RequestError
from retrieval.features import LAST_EVENT, EncodedHistories, Features, Side
from retrieval.storage import ArtifactStore
from retrieval.towers.artifact import META_FILE, ONNX_FILE, USER_KIND, input_key, open_features, open_half, read_json
from retrieval.towers.user_input import UserInput
from retrieval.types import ModelVersion, SpaceId

_Feed = dict[str, npt.NDArray[Any]]
_WORTH_A_CALL = 256
"""Tokens of padding that cost about as much as one more call of the session (64 wide, 2 blocks: .2 ms)."""


class UserTower:
    """The user tower of one model version. Thread-safe: it holds nothing that a call changes.

    Vectors of users are [B, D] where each has one, [B, E, D] where each has E > 1: the same rule everywhere.
    """

    def __init__(
        self,
        version: ModelVersion,
        space_id: SpaceId,
        dim: int,
        features: Features,
        session: ort.InferenceSession,
        *,
        interests: int = 1,
    ) -> None:
        self.version = version
        self.space_id = space_id
        self.dim = dim
        self.interests = interests
        self.features = features
        self._session = session
        self._pad = features.history_inputs().pad
        self._wanted = frozenset(given.name for given in session.get_inputs())
        self._profile = _Side(features, "user")
        self._context = _Side(features, "context")
        self.profile_columns = frozenset(self._profile.columns)
        self.context_columns = frozenset(self._context.columns) - {LAST_EVENT}

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what stands for one user: (D,), or (E, D) with E > 1 interests."""
        return (self.dim,) if self.interests == 1 else (self.interests, self.dim)

    def embed(self, inputs: Sequence[UserInput]) -> npt.NDArray[np.float32]:
        """Unit vectors float32 [B, D], or [B, E, D], of B users, whose histories may be of any lengths.

        Raises RequestError that names the feature whose value can't be encoded.
        """
        if not inputs:
            return np.zeros((0, *self.shape), np.float32)
        encoded = [
            self.features.encode_history(given.history.item_ids, given.history.actions, given.history.timestamps)
            for given in inputs
        ]
        side: _Feed = {}
        at = np.array([given.at for given in inputs], np.int64)
        if self._profile.inputs:
            side.update(self._profile.encode([given.profile for given in inputs], at))
        if self._context.inputs:
            side.update(self._context.encode([_with_last_event(given) for given in inputs], at))
        if len(inputs) == 1:
            return self._run(encoded, at, side)
        groups = length_groups(np.array([len(one.newest.items) + 1 for one in encoded]))
        parts = [
            self._run([encoded[row] for row in rows], at[rows], {name: values[rows] for name, values in side.items()})
            for rows in groups
        ]
        vectors = np.concatenate(parts)
        vectors[np.concatenate(groups)] = vectors.copy()
        return vectors

    def _run(self, encoded: Sequence[EncodedHistories], at: Ints, side: _Feed) -> Vectors:
        history = self.features.lay_out(EncodedHistories.join(encoded), at)
        feed = {**history.tower_inputs(self._pad), **side}
        vectors: Vectors = self._session.run(
            None, {name: values for name, values in feed.items() if name in self._wanted}
        )[0]
        return vectors


class _Side:
    """Profile or context: which raw columns it reads, and which inputs of the tower it becomes."""

    def __init__(self, features: Features, side: Side) -> None:
        self._features = features
        self._side: Side = side
        self.columns = features.columns(side)
        self.inputs = tuple((feature.name, input_key(feature)) for feature in features.inputs(side))

    def encode(self, rows: Sequence[Mapping[str, Any]], at: npt.NDArray[np.int64]) -> _Feed:
        columns = {name: [row.get(name) for row in rows] for name in self.columns}
        encoded = self._features.encode(self._side, columns, len(rows), at)
        return {key: encoded[name] for name, key in self.inputs}


def load_user_tower(store: ArtifactStore, version: ModelVersion, *, threads: int = 1) -> UserTower:
    """Load and verify the user tower of a version, and the features it needs; `threads` per call.

    Raises NotFoundError where the store has no such version, ArtifactError that names what is damaged or another's.
    """
    folder, space = open_half(store, version, USER_KIND)
    return open_user_tower(folder, version, space, open_features(store, version, space), threads=threads)


def open_user_tower(
    folder: Path, version: ModelVersion, space: SpaceId, features: Features, *, threads: int = 1
) -> UserTower:
    """The user tower in a folder whose files were checked, or just written. Raises ArtifactError."""
    meta = read_json(folder / META_FILE)
    if meta.get("space_id") != space:
        raise ArtifactError(f"{folder / META_FILE}: of space {meta.get('space_id')}, expected {space}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # spinning threads would take the core from the process that searches
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(str(folder / ONNX_FILE), options, providers=["CPUExecutionProvider"])
        dim = int(meta["dim"])
        interests = int(meta.get("interests", 1))  # towers of older versions have one, and don't say so
    except Exception as error:  # ONNX Runtime raises classes of its own, all below Exception
        raise ArtifactError(f"{folder / ONNX_FILE}: can't be loaded: {error}") from error
    features.item_vocabulary.prepare()
    tower = UserTower(version, space, dim, features, session, interests=interests)
    _check(tower, folder / ONNX_FILE)
    return tower


def _check(tower: UserTower, path: Path) -> None:
    """The tower answers for a user of whom nothing is known, with a unit vector."""
    try:
        vectors = tower.embed([UserInput()])
    except Exception as error:  # as above
        raise ArtifactError(f"{path}: doesn't run with the features beside it: {error}") from error
    if vectors.shape != (1, *tower.shape):
        raise ArtifactError(
            f"{path}: gives {_said(vectors.shape[1:])} for a user, {META_FILE} says {_said(tower.shape)}: "
            "one of the two is of another tower; export the version again"
        )
    if not np.isfinite(vectors).all():
        raise ArtifactError(f"{path}: gives numbers that are not finite")


def _said(shape: tuple[int, ...]) -> str:
    number = shape[0] if len(shape) > 1 else 1
    return f"{number} vector{'s' * (number > 1)} of width {shape[-1]}"


def _with_last_event(given: UserInput) -> Mapping[str, Any]:
    times = given.history.timestamps
    if LAST_EVENT in given.context:
        raise RequestError(f"context: {LAST_EVENT!r} is taken from the history and can't be given")
    return {**given.context, LAST_EVENT: int(times[-1])} if len(times) else given.context


def length_groups(lengths: npt.NDArray[np.int64]) -> list[npt.NDArray[np.intp]]:
    """Positions of histories that are computed together, from their lengths int64 [B] in tokens: the longest first.

    Cut where a length doubles and padding the shorter ones would cost more than a call of its own.
    """
    order = np.argsort(-lengths, kind="stable")
    doublings = np.frexp(lengths[order])[1]
    edges = [0, *(np.flatnonzero(np.diff(doublings)) + 1).tolist(), len(order)]
    cuts, width = [], int(lengths[order[0]])
    for first, last in pairwise(edges):
        longest = int(lengths[order[first]])
        if (last - first) * (width - longest) > _WORTH_A_CALL:
            cuts.append(first)
            width = longest
    return np.split(order, cuts)
