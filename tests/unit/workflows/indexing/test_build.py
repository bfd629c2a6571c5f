"""Building and checking an index from a workspace, and the commands that do it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from retrieval.cli.main import build_app
from retrieval.data import Dataset
from retrieval.errors import ArtifactError, ConfigError, ConflictError, GateError, NotFoundError, RetrievalError
from retrieval.index import AnyOf, Query
from retrieval.index.shard import open_shard
from retrieval.storage import read_manifest
from retrieval.towers.loading import load_item_tower
from retrieval.types import BuildId, ModelVersion
from retrieval.workflows.indexing import build as building
from retrieval.workflows.indexing import verify as verifying
from retrieval.workflows.indexing.build import build_version_index
from retrieval.workflows.indexing.verify import verify_version_index
from retrieval.workflows.workspace import Workspace
from tests.tiny import TINY_SETTINGS, make_workspace, registered_version, tiny_dataset

SETTINGS = (
    TINY_SETTINGS
    + """\
[index]
shards = 2
threads = 1
"""
)
VERSION = ModelVersion("demo", 1)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Workspace, Dataset]:
    dataset = tiny_dataset(tmp_path)
    workspace = make_workspace(tmp_path, SETTINGS)
    registered_version(workspace, dataset, VERSION)
    return workspace, dataset


def test_a_build_is_published_registered_and_found_again(made: tuple[Workspace, Dataset]) -> None:
    workspace, dataset = made
    outcome = build_version_index(workspace, show=False)
    row = outcome.build
    assert (str(row.id), row.state, row.shards, row.items) == ("demo-b1", "ready", 2, 40)
    assert row.digest == read_manifest(workspace.store().locate(row.key)).digest
    facts = read_manifest(workspace.store().locate(row.key)).facts
    assert (facts["version"], facts["measured_with"]) == (1, "users")
    assert facts["items_snapshot"] == dataset.snapshot

    again = build_version_index(workspace, VERSION, show=False)
    assert again.report is None
    assert again.build == row
    other = build_version_index(workspace, shards=1, show=False)
    assert str(other.build.id) == "demo-b2"
    assert other.build.shards == 1


def test_shards_hold_what_the_item_tower_says(made: tuple[Workspace, Dataset]) -> None:
    workspace, dataset = made
    row = build_version_index(workspace, shards=1, show=False).build
    shard = open_shard(workspace.store().locate(row.key) / "shard-0-of-1")
    items = dataset.items.rename_columns(["item_id", *dataset.items.column_names[1:]])
    vectors = load_item_tower(workspace.store(), VERSION).encode(items, dataset.histories.last_us)
    hits = shard.search(vectors[3:4], [Query(40)])[0]
    scores = dict(zip(hits.item_ids, hits.scores.tolist(), strict=True))
    assert scores == pytest.approx(
        dict(zip(items["item_id"].to_pylist(), (vectors @ vectors[3]).tolist(), strict=True)), abs=5e-5
    )
    assert "colour" in shard.fields
    wanted = items["colour"][3].as_py()
    red = shard.search(vectors[3:4], [Query(40, filter=AnyOf("colour", (wanted,)))])[0]
    assert {*red.item_ids} == {
        item
        for item, colour in zip(items["item_id"].to_pylist(), items["colour"].to_pylist(), strict=True)
        if colour == wanted
    }


def test_only_items_with_recent_events(made: tuple[Workspace, Dataset]) -> None:
    workspace, dataset = made
    histories = dataset.histories
    day_us = 86_400_000_000
    days = (histories.last_us - int(np.quantile(histories.timestamps, 0.97))) / day_us
    recent = {*histories.items[histories.timestamps >= histories.last_us - int(days * day_us)].tolist()}
    assert 0 < len(recent) < 40
    narrowed = Workspace.open(workspace.root, [f"corpus.engaged_days={days}"])
    assert build_version_index(narrowed, show=False).build.items == len(recent)


def test_a_refused_build_is_marked_as_failed(made: tuple[Workspace, Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, _ = made
    monkeypatch.setattr("retrieval.index.shard_build.measured_recall", lambda *_: 0.5)
    with pytest.raises(GateError, match=r"recall@100 0\.5000"):
        build_version_index(workspace, show=False)
    registry = workspace.registry()
    assert [row.state for row in registry.list_builds("demo")] == ["failed"]
    registry.close()
    assert not (workspace.root / "store" / "builds").exists()


def test_a_build_published_but_not_registered_is_taken_up(
    made: tuple[Workspace, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill between the two; the number that was reserved is used again."""
    workspace, _ = made

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(building, "_published", killed)
        with pytest.raises(KeyboardInterrupt):
            build_version_index(workspace, show=False)
    outcome = build_version_index(workspace, show=False)
    assert outcome.report is None
    assert (str(outcome.build.id), outcome.build.state, outcome.build.items) == ("demo-b1", "ready", 40)


def test_an_interrupted_build_keeps_a_number(made: tuple[Workspace, Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, _ = made

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("retrieval.index.shard_build.measured_recall", killed)
        with pytest.raises(KeyboardInterrupt):
            build_version_index(workspace, show=False)
    with pytest.raises(NotFoundError, match="never finished"):
        verify_version_index(workspace, BuildId("demo", 1), show=False)
    assert str(build_version_index(workspace, show=False).build.id) == "demo-b1"


def test_verification_encodes_golden_items_anew(made: tuple[Workspace, Dataset]) -> None:
    workspace, _ = made
    row = build_version_index(workspace, show=False).build
    found = verify_version_index(workspace, row.id, show=False)
    assert found.items == 40
    assert found.golden_items == 8
    assert found.golden_cosine == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(NotFoundError):
        verify_version_index(workspace, BuildId("demo", 9), show=False)


def test_verification_notices_a_tower_that_encodes_otherwise(
    made: tuple[Workspace, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _ = made
    row = build_version_index(workspace, show=False).build
    whole = verifying.encode_items
    reverse = lambda block: replace(block, vectors=block.vectors[:, ::-1])  # noqa: E731
    monkeypatch.setattr(verifying, "encode_items", lambda *given: map(reverse, whole(*given)))
    with pytest.raises(ArtifactError, match=r"golden\.arrow.*encoded otherwise"):
        verify_version_index(workspace, row.id, show=False)


def test_verification_names_a_damaged_file(made: tuple[Workspace, Dataset]) -> None:
    workspace, _ = made
    row = build_version_index(workspace, show=False).build
    path = workspace.store().locate(row.key) / "shard-1-of-2" / "items.arrow"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"shard-1-of-2/items\.arrow"):
        verify_version_index(workspace, row.id, show=False)


def test_versions_and_flags_that_are_wrong(made: tuple[Workspace, Dataset]) -> None:
    workspace, _ = made
    with pytest.raises(NotFoundError):
        build_version_index(workspace, ModelVersion("demo", 7), show=False)
    with pytest.raises(ConfigError, match="--shards 0"):
        build_version_index(workspace, shards=0, show=False)
    registry = workspace.registry()
    registry.set_version_state(VERSION, "retired")
    registry.close()
    with pytest.raises(NotFoundError, match="retrieval train"):
        build_version_index(workspace, show=False)
    with pytest.raises(ConflictError, match="retired"):
        build_version_index(workspace, VERSION, show=False)


def test_the_commands(made: tuple[Workspace, Dataset]) -> None:
    workspace, _ = made
    where = ["--workspace", str(workspace.root)]

    def call(*words: str) -> Any:
        return CliRunner().invoke(build_app(), ["index", *words, *where])

    body = json.loads(call("build", "--json").stdout)
    assert (body["build"], body["version"], body["items"], body["reused"]) == ("demo-b1", "demo@1", 40, False)
    assert json.loads(call("build", "demo@1", "--json").stdout)["reused"] is True
    assert "there already" in call("build", "1").output
    assert "recall@100" in call("build", "1", "--shards", "1").output
    checked = json.loads(call("verify", "demo-b1", "--json").stdout)
    assert [shard["shard"] for shard in checked["shards"]] == [0, 1]
    assert "is sound" in call("verify", "1").output
    for words in (("verify", "demo-b9"), ("build", "demo@9"), ("build", "x y")):
        result = call(*words)
        assert isinstance(result.exception, RetrievalError)
