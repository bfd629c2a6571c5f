from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.services import Services, services
from tests.serving_world import World, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two versions and a build of each, 2 shards; read only."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def running(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with services(world, tmp_path_factory.mktemp("run")) as found:
        yield found
