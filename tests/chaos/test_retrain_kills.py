from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from retrieval.workflows.fleet.deployment import collect_garbage
from retrieval.workflows.indexing.verify import verify_version_index
from retrieval.workflows.retrain.chain import STEPS
from tests.retraining import retrain_workspace


def kill_everywhere(root: Path, seed: int) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.retrain_kills", str(root), str(seed)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    assert found["ended"] == 0, done.stderr[-4000:]
    return found


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
def test_killed_at_every_step_the_chain_goes_on_and_ends_with_one_live_version(tmp_path: Path, seed: int) -> None:
    workspace = retrain_workspace(tmp_path / "workspace")
    found = kill_everywhere(workspace.root, seed)
    assert found["repeated"] == []
    assert found["steps"] == 2 * len(STEPS)
    assert found["survived"] == []  # every kill hit

    with closing(workspace.registry()) as registry:
        active = registry.active_build("demo")
        assert active is not None
        assert registry.running_deployment("demo") is None
        newest = registry.retraining.runs("demo")[0]
        assert (newest.state, newest.version, newest.build) == ("done", active.version, active.number)
        verify_version_index(workspace, active.id, show=False)
        collect_garbage(workspace)
        ready = {row.key for row in registry.list_versions("demo", states=["ready"])}
        built = {row.key for row in registry.list_builds("demo", states=["ready"])}
        assert not registry.list_builds("demo", states=["building"])
        assert not registry.list_versions("demo", states=["reserved"])
    store = workspace.store()
    assert set(store.keys("models/demo")) == ready
    assert set(store.keys("builds/demo")) == built
    assert len(ready) == len(built) == 2
