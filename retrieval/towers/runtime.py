"""The served user tower: ONNX Runtime and the version's own features, no torch.

B batch, L history length with BOS, D width of the embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from retrieval.errors import ArtifactError
from retrieval.features import EncodedHistory, Features
from retrieval.storage import ArtifactStore
from retrieval.towers.artifact import META_FILE, ONNX_FILE, USER_KIND, input_key, open_features, open_half, read_json
from retrieval.types import ModelVersion, SpaceId

_Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class History:
    """A user's engagement sequence, oldest first: raw item ids, action names, int64 µs since 1970 UTC."""

    item_ids: Sequence[str]
    actions: Sequence[str]
    timestamps: npt.NDArray[np.int64]


EMPTY_HISTORY = History((), (), np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True)
class UserInput:
    """All that the user tower is told: history, profile and context as raw values by column, request time in µs."""

    history: History = EMPTY_HISTORY
    profile: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    at: int = 0


class UserTower:
    """The user tower of one model version. Thread-safe."""

    def __init__(
        self, version: ModelVersion, space_id: SpaceId, dim: int, features: Features, session: ort.InferenceSession
    ) -> None:
        self.version = version
        self.space_id = space_id
        self.dim = dim
        self.features = features
        self._session = session
        self._pad = features.history_inputs().pad
        self._names = frozenset(given.name for given in session.get_inputs())
        self._side = tuple(
            (side, tuple((feature.name, input_key(feature)) for feature in features.inputs(side)))
            for side in ("user", "context")
        )
        self._columns = {side: features.columns(side) for side in ("user", "context")}

    def embed(self, inputs: Sequence[UserInput]) -> npt.NDArray[np.float32]:
        """Unit vectors float32 [B, D] for B users with histories of any lengths.

        Raises RequestError that names the feature whose value can't be encoded.
        """
        if not inputs:
            return np.zeros((0, self.dim), np.float32)
        feed = self._history([self._encode_history(given) for given in inputs])
        at = np.fromiter((given.at for given in inputs), np.int64, len(inputs))
        for side, names in self._side:
            if not names:
                continue
            rows = [given.profile if side == "user" else given.context for given in inputs]
            ...
        vectors: npt.NDArray[np.float32] = self._session.run(None, feed)[0]
        return vectors
