"""Refreshing the active build: what has moved is encoded, what has not is taken over, and the hosts follow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from retrieval.cli.main import build_app
from retrieval.data.config import iso_moment
from retrieval.errors import ConfigError, ConflictError, GateError, NotFoundError
from retrieval.features import FeatureSpec
from retrieval.index.files import open_items, open_vectors
from retrieval.index.metadata import read_metadata
from retrieval.registry import BuildRow, VersionRow
from retrieval.rollout.controller import controller_mark
from retrieval.storage.locks import locked
from retrieval.towers.loading import ItemTower
from retrieval.types import BuildId, ModelVersion
from retrieval.workflows.fleet.deployment import collect_garbage, deploy_build
from retrieval.workflows.indexing.build import build_version_index
from retrieval.workflows.indexing.refresh import RefreshOutcome, refresh_index
from retrieval.workflows.workspace import Workspace
from tests.tiny import HOUR_US, START_US, TINY_SETTINGS, make_workspace, tiny_dataset, tiny_version

SPEC = FeatureSpec.model_validate_json(
    json.dumps(
        {
            "item": [
                {"kind": "categorical", "name": "colour"},
                {"kind": "activity", "name": "lately", "hours": 5.0},
            ]
        }
    )
)
SETTINGS = (
    TINY_SETTINGS
    + """
[index]
shards = 2
threads = 1
min_recall = 0.0
[registry]
alive_s = 1.0
"""
)
T0 = START_US + 400 * HOUR_US + HOUR_US // 2  # events are at full hours
VERSION = ModelVersion("demo", 1)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A build of all items as of T0, active, with no host up."""
    dataset = tiny_dataset(tmp_path)
    made = make_workspace(tmp_path, SETTINGS)
    version = tiny_version(made.store(), VERSION, dataset, spec=SPEC)
    with closing(made.registry()) as registry:
        manifest = made.store().manifest("models/demo/1")
        registry.add_version(
            VersionRow(model="demo", version=1, space_id=version.space_id, key="models/demo/1", digest=manifest.digest)
        )
    built = build_version_index(Workspace.open(tmp_path, [f'index.as_of="{iso_moment(T0)}"']), show=False)
    deploy_build(made, built.build.id, without_hosts=True)
    return made


def active(workspace: Workspace) -> BuildRow:
    with closing(workspace.registry()) as registry:
        found = registry.active_build("demo")
    assert found is not None
    return found


def held(workspace: Workspace, build: BuildId) -> dict[str, np.ndarray]:
    found = {}
    for part in sorted((workspace.root / "store" / "builds" / "demo" / str(build.number)).glob("shard-*")):
        metadata = read_metadata(part)
        ids, _ = open_items(part, metadata, validate=True)
        found |= dict(zip(ids.to_pylist(), open_vectors(part, metadata), strict=True))
    return found


def append(workspace: Workspace, **columns: Any) -> None:
    path = workspace.root / "data" / "events.parquet"
    table = pq.read_table(path)
    count = len(columns["item_id"])
    rows = pa.table(columns | {"action": ["click"] * count, "device": ["phone"] * count})
    pq.write_table(pa.concat_tables([table, rows.select(table.column_names).cast(table.schema)]), path)


@contextmanager
def encoded_items(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    counts: list[int] = []
    whole = ItemTower.embed

    def counted(self: ItemTower, inputs: Any) -> Any:
        counts.append(len(inputs["item_id"]))
        return whole(self, inputs)

    with monkeypatch.context() as patched:
        patched.setattr(ItemTower, "embed", counted)
        yield counts


def refreshed(workspace: Workspace, at_us: int) -> RefreshOutcome:
    return refresh_index(workspace, at_us=at_us, device="cpu", show=False)


def test_it_holds_what_a_build_as_of_then_holds_and_encodes_what_moved(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = held(workspace, active(workspace).id)
    later = T0 + HOUR_US
    with encoded_items(monkeypatch) as counts:
        found = refreshed(workspace, later)
    assert 0 < found.moved < found.build.items
    assert sum(counts) == found.moved
    assert found.build == active(workspace)
    assert (found.build.parent, found.build.at_us, found.build.version) == (1, later, 1)
    assert found.build.space_id == found.parent.space_id
    whole = build_version_index(Workspace.open(workspace.root, [f'index.as_of="{iso_moment(later)}"']), show=False)
    assert whole.build.number != found.build.number
    now, expected = held(workspace, found.build.id), held(workspace, whole.build.id)
    assert now.keys() == expected.keys()
    for item_id, vector in expected.items():
        np.testing.assert_allclose(now[item_id], vector, atol=1e-6)
    taken_over = sum(np.array_equal(now[item_id], before[item_id]) for item_id in now.keys() & before.keys())
    assert taken_over >= len(now) - found.moved


def test_where_nothing_moved_no_build_is_made_and_the_moment_moves_on(workspace: Workspace) -> None:
    before = active(workspace)
    found = refreshed(workspace, T0 + 1)
    assert (found.moved, found.report, found.deployment) == (0, None, None)
    assert found.build.id == before.id
    assert active(workspace).at_us == T0 + 1


def test_new_items_come_in(workspace: Workspace) -> None:
    append(workspace, user_id=["u1", "u2"], item_id=["late", "late"], timestamp=[T0 + 5, T0 + HOUR_US])
    found = refreshed(workspace, T0 + 1000)
    assert (found.new, found.gone) == (1, 0)
    assert "late" in held(workspace, found.build.id)


def test_what_happens_after_the_moment_is_not_looked_at(workspace: Workspace) -> None:
    append(workspace, user_id=["u1"], item_id=["late"], timestamp=[T0 + HOUR_US])
    found = refreshed(workspace, T0 + 1000)
    assert "late" not in held(workspace, found.build.id)


def test_old_refreshes_are_collected_and_the_build_before_them_stays(workspace: Workspace) -> None:
    builds = [refreshed(workspace, T0 + step * HOUR_US).build.number for step in range(1, 5)]
    assert len(set(builds)) == 4
    there = {int(path.name) for path in (workspace.root / "store" / "builds" / "demo").iterdir()}
    assert there == {1, *builds[-2:]}
    collect_garbage(workspace, keep_builds=1)
    assert there == {int(path.name) for path in (workspace.root / "store" / "builds" / "demo").iterdir()}
    with closing(workspace.registry()) as registry:
        assert registry.previous_build("demo") is None  # there is no other version to go back to


def test_it_is_refused_where_hardly_anything_would_be_left(workspace: Workspace) -> None:
    short = Workspace.open(workspace.root, ["corpus.engaged_days=0.05"])
    with pytest.raises(GateError, match=r"would leave \d of the .* rollout\.refresh_keeps is 0\.5"):
        refreshed(short, T0 + HOUR_US)
    assert active(workspace).number == 1


def test_a_recall_too_low_publishes_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.index.shard_build.measured_recall", lambda *_: 0.5)
    strict = Workspace.open(workspace.root, ["index.min_recall=0.9"])
    with pytest.raises(GateError, match="nothing was published"):
        refreshed(strict, T0 + HOUR_US)
    assert active(workspace).number == 1
    with closing(workspace.registry()) as registry:
        assert [row.state for row in registry.list_builds("demo")] == ["ready", "failed"]


def test_what_a_killed_one_left_is_given_up(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it had been killed between publishing and registering: no handler runs."""
    from retrieval.registry import Registry

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Registry, "add_build", killed)
        with pytest.raises(KeyboardInterrupt):
            refreshed(workspace, T0 + HOUR_US)
    assert active(workspace).number == 1
    assert (workspace.root / "store" / "builds" / "demo" / "2").is_dir()
    found = refreshed(workspace, T0 + HOUR_US)
    assert found.build.number == 3
    assert not (workspace.root / "store" / "builds" / "demo" / "2").exists()
    with closing(workspace.registry()) as registry:
        assert [row.state for row in registry.list_builds("demo")] == ["ready", "failed", "ready"]


def test_one_at_a_time_and_not_beside_a_deployment(workspace: Workspace) -> None:
    (workspace.root / "run").mkdir(exist_ok=True)
    with locked(workspace.root / "run" / "refresh.lock", "x"), pytest.raises(ConflictError, match="being refreshed"):
        refreshed(workspace, T0 + HOUR_US)
    with closing(workspace.registry()) as registry:
        started = registry.start_deployment(BuildId("demo", 1), note=controller_mark())
        with pytest.raises(ConflictError, match="will be refreshed when it is done"):
            refreshed(workspace, T0 + HOUR_US)
        registry.finish_deployment(started.id, "done")
    assert refreshed(workspace, T0 + HOUR_US).build.number == 2


def test_moments_and_workspaces_that_are_wrong(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(ConfigError, match=r"2023-12-01T\S+ is before 2023-12-01T\S+, the moment that demo-b1 is as of"):
        refreshed(workspace, T0 - 1)
    empty = make_workspace(tmp_path_factory.mktemp("empty"))
    with pytest.raises(NotFoundError, match="no build is active yet"):
        refreshed(empty, T0)


def test_the_command(workspace: Workspace) -> None:
    def call(*words: str) -> Any:
        return CliRunner().invoke(build_app(), ["index", "refresh", *words, "-w", str(workspace.root)])

    body = json.loads(call("--json", "--as-of", iso_moment(T0 + HOUR_US)).stdout)
    assert (body["build"], body["parent"], body["version"], body["hosts"]) == ("demo-b2", "demo-b1", "demo@1", 0)
    assert body["at_us"] == T0 + HOUR_US
    assert 0 < body["moved"] < body["items"]
    assert "none of its" in call("--as-of", iso_moment(T0 + HOUR_US + 1)).output
    assert "takes the place of demo-b2" in call("--as-of", iso_moment(T0 + 3 * HOUR_US)).output
    for words in (("--as-of", "yesterday"), ("--every", "soon"), ("--every", "1s", "--as-of", "2024-01-01")):
        assert isinstance(call(*words).exception, ConfigError)
    status = CliRunner().invoke(build_app(), ["status", "-w", str(workspace.root)])
    assert "as they were known" in status.output
