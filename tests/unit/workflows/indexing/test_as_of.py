"""An index as it would have been built at an earlier moment."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from retrieval.data import open_dataset
from retrieval.data.facts.items import first_event_times
from retrieval.index import Query
from retrieval.index.shard import open_shard
from retrieval.types import BuildId
from retrieval.workflows.evaluation.evaluate import item_vectors
from retrieval.workflows.indexing.build import build_version_index
from retrieval.workflows.training.train import train_version
from retrieval.workflows.workspace import Workspace
from tests.tiny import make_workspace, write_tiny

SETTINGS = """
model.name = "demo"
[data]
events = "data/events.parquet"
users = "data/users.parquet"
items = "data/items.parquet"
[data.split]
method = "time"
valid_hours = 48.0
test_hours = 48.0
[[features.item]]
kind = "activity"
name = "lately"
hours = 200.0
[[features.item]]
kind = "first_seen"
name = "age"
[towers]
dim = 16
blocks = 1
[training]
windows = "by_time"
epochs = 1
min_batches = 3
threads = 1
[corpus]
refresh_minutes = 720.0
[index]
threads = 1
min_recall = 0.0
"""


def test_items_are_indexed_as_they_were_known_then(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    workspace = make_workspace(tmp_path, SETTINGS)
    trained = train_version(workspace, show=False)
    assert trained.report is not None
    dataset = open_dataset(workspace.settings.data, tmp_path, show=False)
    histories = dataset.histories
    first = first_event_times(histories)
    moments = np.unique(first[first < np.iinfo(np.int64).max])
    at_us = int(moments[len(moments) // 2]) // 1_000_000 * 1_000_000
    as_of = datetime.fromtimestamp(at_us / 1e6, UTC).isoformat()
    built = build_version_index(Workspace.open(tmp_path, [f'index.as_of="{as_of}"']), show=False)
    folder = workspace.store().locate(f"builds/demo/{built.build.number}")
    (shard,) = [open_shard(path) for path in sorted(folder.glob("shard-*"))]
    later = {histories.item_ids[row].as_py() for row in np.flatnonzero((first >= at_us) & (first < moments[-1] + 1))}
    assert later
    found = shard.search(np.eye(16, dtype=np.float32)[:1], [Query(len(first))])[0]
    assert not later & set(found.item_ids)
    assert len(found.item_ids) == len(first) - len(later)
    assert BuildId("demo", built.build.number) == built.build.id

    vectors = item_vectors(workspace, trained.version.id, dataset)
    assert callable(vectors)
    rows = histories.item_rows(pa.array(found.item_ids))
    exact = vectors(at_us)[rows] @ np.eye(16, dtype=np.float32)[0]
    np.testing.assert_allclose(found.scores, exact, atol=1e-5)
    assert not np.allclose(vectors(at_us), vectors(histories.last_us), atol=1e-3)
