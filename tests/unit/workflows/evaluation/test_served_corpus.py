"""A figure that is not of the corpus that is served says so first; a build of another corpus is not deployed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from retrieval.cli.main import build_app
from retrieval.data.corpus.words import differences
from retrieval.errors import GateError
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.evaluate import evaluate_version
from retrieval.workflows.evaluation.report import examine_version
from retrieval.workflows.evaluation.served_corpus import served_otherwise
from retrieval.workflows.fleet.deployment import deploy_build
from retrieval.workflows.indexing.build import build_version_index
from retrieval.workflows.workspace import Workspace
from tests.tiny import TINY_SETTINGS, make_workspace, registered_version, tiny_dataset

VERSION = ModelVersion("demo", 1)
CATALOG = "corpus.items=catalog"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    dataset = tiny_dataset(folder)
    workspace = make_workspace(folder, TINY_SETTINGS + "[index]\nthreads = 1\nmin_recall = 0.0\n")
    registered_version(workspace, dataset, VERSION)
    build = build_version_index(workspace, show=False).build
    deploy_build(workspace, build.id, without_hosts=True)
    return folder


def test_what_is_served_needs_no_word(root: Path) -> None:
    assert served_otherwise(Workspace.open(root)) == ""
    report = evaluate_version(Workspace.open(root), VERSION, show=False)
    assert str(report.tables()[0].title).startswith("leave_one_out test: ")


def test_an_override_stands_in_the_first_line(root: Path) -> None:
    workspace = Workspace.open(root, ["corpus.allow_seen=true", "corpus.refresh_minutes=60.0"])
    said = "refresh_minutes = 60.0 in place of 0.0, allow_seen = True in place of False in retrieval.toml"
    report = evaluate_version(workspace, VERSION, show=False)
    assert report.differs == report.to_dict()["differs"] == said
    assert str(report.tables()[0].title).startswith(f"Not the corpus that is served: {said}\n")
    assert examine_version(workspace, VERSION, whole=False, show=False).warnings[0].endswith(f"is served: {said}.")
    asked = [*("evaluate", "1", "--workspace", str(root)), *("--set", "corpus.allow_seen=true")]
    shown = CliRunner().invoke(build_app(), asked).output
    assert shown.index("Not the corpus that is served") < shown.index("leave_one_out test")


def test_a_build_of_another_corpus_is_not_deployed_and_is_named_where_it_serves(root: Path) -> None:
    other = Workspace.open(root, [CATALOG])
    build = build_version_index(other, show=False).build
    with pytest.raises(GateError, match=r"items = 'catalog' in place of 'engaged'; build the index again"):
        deploy_build(Workspace.open(root), build.id, without_hosts=True)
    deploy_build(other, build.id, without_hosts=True)
    assert served_otherwise(Workspace.open(root)) == f"items = 'engaged' in place of 'catalog' in {build.id}"
    declared = build_version_index(Workspace.open(root), show=False).build
    deploy_build(Workspace.open(root), declared.id, without_hosts=True)


def test_what_only_one_of_two_declarations_has_is_passed_over() -> None:
    assert differences({"a": 1, "b": 2}, {"a": 3, "c": 4}) == "a = 3 in place of 1"
    assert differences({"a": 1}, {}) == ""
