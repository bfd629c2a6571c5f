"""A workspace: one folder with a retrieval.toml, and everything that a run reads and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval import data, registry, storage  # their public names are imported when they are used
from retrieval.config import FILE_NAME, load_settings
from retrieval.workflows.workspace.settings import Settings

if TYPE_CHECKING:
    from retrieval.data import Dataset, Split
    from retrieval.registry import Registry
    from retrieval.storage import ArtifactStore

RUN = "run"
"""Folder in a workspace for what running services write: logs, the fleet's file, what hosts remember."""


@dataclass(frozen=True)
class Workspace:
    """A folder, its validated settings, and access to what lies in it."""

    root: Path
    settings: Settings
    overrides: tuple[str, ...] = ()
    """`section.key=value` flags that the settings were opened with, for processes that are to see the same."""
    recipe: Mapping[str, Any] | None = field(default=None, compare=False)
    """Settings that were laid under the file's."""

    @classmethod
    def open(cls, root: Path, overrides: Sequence[str] = (), *, recipe: Mapping[str, Any] | None = None) -> Workspace:
        """Read and validate `root`/retrieval.toml, with `section.key=value` overrides, over a `recipe`'s settings.

        Raises ConfigError.
        """
        root = root.resolve()
        settings = load_settings(root / FILE_NAME, Settings, under=recipe, flags=overrides)
        return cls(root, settings, tuple(overrides), recipe)

    def reopen(self) -> Workspace:
        """The same workspace with what its retrieval.toml says now. Raises ConfigError."""
        return Workspace.open(self.root, self.overrides, recipe=self.recipe)

    @property
    def model(self) -> str:
        """The model's name."""
        return self.settings.model.name

    def store(self) -> ArtifactStore:
        """The artifact store that the settings name."""
        return storage.ArtifactStore.open(self.store_uri, cache=self.root / "cache")

    @property
    def store_uri(self) -> str:
        """Where the artifact store is: the URI of the settings, a relative folder under the workspace."""
        uri = self.settings.store.uri
        return uri if "://" in uri else str(self.root / uri)

    def dataset(self, *, show: bool = True) -> Dataset:
        """The dataset that the settings name, its histories built or found again. Raises DataError."""
        return data.open_dataset(self.settings.data, self.root, show=show)

    def split(self, dataset: Dataset) -> Split:
        """The dataset's events split as the settings say. Raises DataError."""
        return data.make_split(self.settings.data, dataset.histories)

    def registry(self, *, who: str | None = None) -> Registry:
        """The registry that the settings name. Raises ConfigError, UnavailableError."""
        return registry.Registry.open(self.settings.registry.url, root=self.root, who=who)
