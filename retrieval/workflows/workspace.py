"""A workspace: one folder with a retrieval.toml, and everything that a run reads and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from retrieval.config import FILE_NAME, Section, load_settings
from retrieval.data import Dataset, Split, make_split, open_dataset
from retrieval.data.config import DataConfig
from retrieval.evaluation.config import EvaluationConfig
from retrieval.features.spec import FeatureSpec
from retrieval.index.config import IndexConfig
from retrieval.registry import Registry, RegistryConfig
from retrieval.rollout.config import RolloutConfig
from retrieval.serving.config import ServingConfig
from retrieval.storage import ArtifactStore, StoreConfig
from retrieval.towers.config import TowerConfig
from retrieval.training.config import TrainingConfig


class ModelConfig(Section):
    """`[model]`: what is trained here."""

    name: str = Field(
        "main", pattern=r"^[a-z][a-z0-9_]{0,62}$", description="Name of the model; versions are name@1, name@2, …"
    )


class Settings(Section):
    """The whole of retrieval.toml."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    features: FeatureSpec = FeatureSpec()
    towers: TowerConfig = TowerConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    index: IndexConfig = IndexConfig()
    serving: ServingConfig = ServingConfig()
    rollout: RolloutConfig = RolloutConfig()
    registry: RegistryConfig = RegistryConfig()
    store: StoreConfig = StoreConfig()


@dataclass(frozen=True)
class Workspace:
    """A folder, its validated settings, and the doors to what lies in it."""

    root: Path
    settings: Settings

    @classmethod
    def open(cls, root: Path, overrides: Sequence[str] = (), *, recipe: Mapping[str, Any] | None = None) -> Workspace:
        """Read and validate `root`/retrieval.toml, with `section.key=value` overrides, over a `recipe`'s settings.

        Raises ConfigError.
        """
        root = root.resolve()
        return cls(root, load_settings(root / FILE_NAME, Settings, under=recipe, flags=overrides))

    @property
    def model(self) -> str:
        """The model's name."""
        return self.settings.model.name

    def store(self) -> ArtifactStore:
        """The artifact store that the settings name."""
        uri = self.settings.store.uri
        return ArtifactStore.open(uri if "://" in uri else str(self.root / uri), cache=self.root / "cache")

    def dataset(self, *, show: bool = True) -> Dataset:
        """The dataset that the settings name, its histories built or found again. Raises DataError."""
        return open_dataset(self.settings.data, self.root, show=show)

    def split(self, dataset: Dataset) -> Split:
        """The dataset's events split as the settings say. Raises DataError."""
        return make_split(self.settings.data, dataset.histories)

    def registry(self, *, who: str | None = None) -> Registry:
        """The registry that the settings name. Raises ConfigError, UnavailableError."""
        return Registry.open(self.settings.registry.url, root=self.root, who=who)
