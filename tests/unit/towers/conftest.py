from __future__ import annotations

from pathlib import Path

import pytest

from retrieval.data import Dataset
from retrieval.storage import ArtifactStore
from retrieval.types import ModelVersion
from tests.tiny import Tiny, tiny_dataset, tiny_version


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("towers")


@pytest.fixture(scope="session")
def dataset(folder: Path) -> Dataset:
    return tiny_dataset(folder / "workspace")


@pytest.fixture(scope="session")
def store(folder: Path) -> ArtifactStore:
    return ArtifactStore.create(str(folder / "store"), cache=folder / "cache")


@pytest.fixture(scope="session")
def tiny(store: ArtifactStore, dataset: Dataset) -> Tiny:
    return tiny_version(store, ModelVersion("demo", 1), dataset)


@pytest.fixture(scope="session")
def other(store: ArtifactStore, dataset: Dataset) -> Tiny:
    return tiny_version(store, ModelVersion("demo", 2), dataset, seed=1)
