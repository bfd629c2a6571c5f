from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# A test says what is right; how long that takes depends on what else the machine does
settings.register_profile("retrieval", deadline=None)
settings.load_profile("retrieval")

SHARED_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA
