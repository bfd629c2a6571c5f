"""The stored item tower, for encoding the corpus. Needs torch.

N items, D width of the embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn import functional

from retrieval.errors import ArtifactError, ConfigError
from retrieval.features import Features
from retrieval.storage import ArtifactStore
from retrieval.towers.artifact import CONFIG_FILE, ITEM_KIND, WEIGHTS_FILE, open_features, open_half
from retrieval.towers.config import TowerConfig
from retrieval.towers.item_tower import ItemNetwork
from retrieval.towers.offline import encode_items, tensors
from retrieval.types import ModelVersion, SpaceId


class ItemTower:
    """The item tower of one model version."""

    def __init__(
        self,
        version: ModelVersion,
        space_id: SpaceId,
        *,
        features: Features,
        network: ItemNetwork,
        dim: int,
        device: torch.device,
    ) -> None:
        self.version = version
        self.space_id = space_id
        self.dim = dim
        self.features = features
        self.device = device
        self._network = network.to(device).eval()

    def encode(self, items: pa.Table, at_us: int, batch_size: int = 8192) -> npt.NDArray[np.float32]:
        """Vectors float32 [N, D] of the items of a table with an `item_id` column, as seen at `at_us` (µs).

        Of length 1, or shorter where training never met the item: see `embed`. Raises DataError where a column is of a
        wrong type.
        """
        vectors = np.empty((items.num_rows, self.dim), np.float32)
        for start in range(0, items.num_rows, batch_size):
            part = items.slice(start, batch_size)
            vectors[start : start + part.num_rows] = self.embed(self.inputs(part, at_us))
        return vectors

    def inputs(self, items: pa.Table, at_us: int) -> dict[str, npt.NDArray[Any]]:
        """All that the tower reads of some items, as seen at `at_us` (µs): encoded features [n, ...] by name.

        Raises DataError where a column is of a wrong type.
        """
        ids = items.column("item_id")
        ids = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
        return dict(encode_items(self.features, items, ids, at_us))

    def embed(self, inputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        """Vectors float32 [n, D] of n items' `inputs`, of length 1.

        Of items with an unknown id, which have theirs from their features, as long as the tower found that they can be
        trusted; of those of which nothing is known, zeros.
        """
        # Matrix products in bf16 where a GPU makes them; the vectors are brought back to length 1 in float32
        half = torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")
        with torch.inference_mode(), half:
            moved = {name: values.to(self.device) for name, values in tensors(inputs).items()}
            directions = functional.normalize(self._network(moved).float(), dim=-1).cpu().numpy()
        return np.asarray(directions * self._network.lengths(inputs)[:, None])


def load_item_tower(store: ArtifactStore, version: ModelVersion, *, device: str = "auto") -> ItemTower:
    """Load and verify the item tower of a version, and the features it needs; device is auto, cpu or cuda.

    Raises NotFoundError where the store has no such version, ArtifactError that names what is damaged or another's.
    """
    folder, space = open_half(store, version, ITEM_KIND)
    features = open_features(store, version, space)
    try:
        config = TowerConfig.model_validate_json((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        network = ItemNetwork(features.inputs("item"), config)
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (ValidationError, SafetensorError, RuntimeError, OSError) as error:
        raise ArtifactError(f"{folder}: not an item tower that fits the features beside it: {error}") from error
    chosen = _device(device)
    return ItemTower(version, space, features=features, network=network, dim=config.dim, device=chosen)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device 'cuda': torch finds no CUDA device; use 'auto' or 'cpu'")
    return torch.device(name)
