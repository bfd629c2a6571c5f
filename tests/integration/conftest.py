from __future__ import annotations

import pytest

from tests.serving_world import World, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two versions and a build of each, 2 shards; read only."""
    return make_world(tmp_path_factory.mktemp("world"))
