"""A stored version is measured as it is served; the command prints what was found."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from retrieval.cli.main import build_app
from retrieval.data import Dataset, leave_one_out
from retrieval.data.facts.repeats import engaged_before
from retrieval.errors import ConfigError, NotFoundError
from retrieval.registry import Registry
from retrieval.towers.runtime import load_user_tower
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.evaluate import evaluate_version, newest_version, user_vectors, with_item_ids
from retrieval.workflows.evaluation.user_inputs import inputs_at
from retrieval.workflows.workspace import Workspace
from tests.tiny import TINY_SETTINGS, Tiny, make_workspace, tiny_dataset, tiny_version

SETTINGS = (
    TINY_SETTINGS
    + """\
[evaluation]
ks = [1, 5]
"""
)
VERSION = ModelVersion("demo", 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Dataset, Tiny]:
    root = tmp_path_factory.mktemp("workspace")
    dataset = tiny_dataset(root)
    workspace = make_workspace(root, SETTINGS)
    return workspace, dataset, tiny_version(workspace.store(), VERSION, dataset)


def test_inputs_are_what_was_known_just_before_the_event(made: Any) -> None:
    _, dataset, tiny = made
    histories = dataset.histories
    rows = leave_one_out(histories).test[:5]
    for row, given in zip(rows, inputs_at(dataset, tiny.features, rows), strict=True):
        user = int(histories.users_of(np.array([row]))[0])
        before = histories.items[histories.offsets[user] : row][-12:]
        assert list(given.history.item_ids) == [histories.item_ids[int(code)].as_py() for code in before]
        assert len(given.history.actions) == len(given.history.timestamps) == len(before)
        assert given.at == histories.timestamps[row] >= given.history.timestamps[-1]
        assert given.profile["country"] == dataset.users.column("country")[user].as_py()
        assert given.context == {"device": histories.context["device"].take(np.array([row]))[0].as_py()}


def test_vectors_come_in_the_order_of_the_rows(made: Any) -> None:
    workspace, dataset, _ = made
    tower = load_user_tower(workspace.store(), VERSION)
    rows = leave_one_out(dataset.histories).test
    whole = user_vectors(dataset, tower, rows)
    np.testing.assert_allclose(user_vectors(dataset, tower, rows[3:4]), whole[3:4], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1.0, atol=1e-5)


def test_a_version_is_measured_with_slices(made: Any) -> None:
    workspace, dataset, _ = made
    report = evaluate_version(workspace, VERSION, slices=["user.country"], show=False)
    assert report.model is not None
    assert report.model.name == "demo@1"
    assert report.targets == len(leave_one_out(dataset.histories).test)
    assert {row.column for row in report.slices} >= {"history length", "user.country"}
    assert 0 <= report.metrics["hr@1"] <= report.metrics["hr@5"] <= 1
    valid = evaluate_version(workspace, VERSION, targets="valid", show=False)
    assert valid.split == "leave_one_out valid"


def test_ids_are_text_whatever_the_column_is_called(made: Any) -> None:
    _, dataset, _ = made
    renamed = dataset.items.rename_columns(["code", *dataset.items.column_names[1:]])
    table = with_item_ids(Dataset(dataset.histories, dataset.users, renamed, dataset.snapshot))
    assert table.column("item_id").to_pylist() == dataset.histories.item_ids.to_pylist()


def test_the_command_prints_json_and_tables(made: Any) -> None:
    workspace, _, _ = made
    where = ["--workspace", str(workspace.root)]
    result = CliRunner().invoke(build_app(), ["evaluate", "1", "--slice", "colour", "--json", *where])
    assert result.exit_code == 0, result.output
    body = json.loads(result.stdout)
    assert body["model"]["name"] == "demo@1"
    assert any(row["column"] == "item.colour" for row in body["slices"])
    shown = CliRunner().invoke(build_app(), ["evaluate", "demo@1", "--split", "valid", *where])
    assert "popularity" in shown.output


def test_missing_versions_and_columns_are_named(made: Any) -> None:
    workspace, _, _ = made
    with pytest.raises(NotFoundError, match="no version yet"):
        evaluate_version(workspace, show=False)
    with pytest.raises(NotFoundError):
        evaluate_version(workspace, ModelVersion("demo", 9), show=False)
    with pytest.raises(ConfigError, match=r"'shoe_size' does not exist.*user\.country"):
        evaluate_version(workspace, VERSION, slices=["shoe_size"], show=False)


def test_looking_for_the_newest_version_closes_the_registry(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, _, _ = made
    closed: list[Registry] = []
    close = Registry.close
    monkeypatch.setattr(Registry, "close", lambda registry: (closed.append(registry), close(registry))[0])
    with pytest.raises(NotFoundError, match="has no version yet"):
        newest_version(workspace)
    assert len(closed) == 1


def test_targets_that_were_engaged_with_before_are_counted_and_explained(made: Any) -> None:
    workspace, dataset, _ = made
    report = evaluate_version(workspace, VERSION, show=False)
    expected = int(engaged_before(dataset.histories, leave_one_out(dataset.histories).test).sum())
    assert report.unreachable == report.seen_before == expected > 0
    assert "set corpus.allow_seen = true" in str(report.tables()[0].caption)
