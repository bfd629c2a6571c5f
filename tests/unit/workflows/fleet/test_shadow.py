from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np

from retrieval.serving.users.store import UserStore
from retrieval.workflows.fleet.shadow import shadow_workspace
from retrieval.workflows.fleet.users import users_are_current
from tests.tiny import TINY_SETTINGS, make_workspace, write_tiny


def test_a_shadow_has_users_of_its_own_knows_no_host_and_leaves_nothing(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    workspace = make_workspace(tmp_path, TINY_SETTINGS + '[serving]\nhosts = ["10.0.0.7:7000"]\n')
    dataset = workspace.dataset(show=False)
    left = workspace.root / "run" / "shadow-killed"
    left.mkdir(parents=True)
    with shadow_workspace(workspace, dataset, np.array([2, 5])) as shadow:
        assert not left.exists()
        assert shadow.settings.serving.hosts == ()
        assert users_are_current(shadow, dataset.snapshot)
        folder = shadow.root / shadow.settings.serving.user_store
        with closing(UserStore.open(folder, gib=1)) as store:
            assert store.count() == 2
            ids = dataset.histories.user_ids
            known = store.get(ids[2].as_py())
            assert known is not None
            assert len(known.history.item_ids) == int(np.diff(dataset.histories.offsets)[2])
            assert store.get(ids[0].as_py()) is None
    assert not list((workspace.root / "run").glob("shadow-*"))
    assert not users_are_current(workspace, dataset.snapshot)
