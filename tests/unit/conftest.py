from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # most of what is tested here runs where no registry can be had
    from retrieval.registry import LeaseRow, Registry
    from retrieval.workflows.workspace import Workspace


@pytest.fixture
def registry(workspace: Workspace) -> Iterator[Registry]:
    """The registry of the test's workspace."""
    opened = workspace.registry()
    yield opened
    opened.close()


@pytest.fixture
def lease(registry: Registry) -> LeaseRow:
    """Of the scheduler that leads for the model `feed`."""
    taken = registry.leases.take("schedule/feed", "desk/1/abc", 600)
    assert taken is not None
    return taken
