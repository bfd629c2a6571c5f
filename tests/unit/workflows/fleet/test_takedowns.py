"""The list of items that are never answered, changed by command."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from retrieval.cli.main import build_app
from retrieval.errors import ConfigError, RequestError
from retrieval.serving.ann.takedowns import TakedownFile
from retrieval.workflows.fleet.takedowns import list_takedowns, put_back, take_down
from retrieval.workflows.workspace import Workspace, create_workspace


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    return create_workspace(tmp_path, settings={"serving": {"takedowns": "takedowns.txt"}})


def test_items_are_listed_where_hosts_read_them_and_changes_are_audited(shop: Workspace) -> None:
    assert list_takedowns(shop) == []
    assert (take_down(shop, ["b", "a", "b"]).changed, take_down(shop, ["b"]).changed) == (2, 0)
    assert TakedownFile(shop.root / "takedowns.txt").read() == {"a", "b"}
    assert put_back(shop, ["a", "z"]).listed == 1
    assert list_takedowns(shop) == ["b"]
    with closing(shop.registry()) as registry:
        found = [(entry.action, entry.details["items"]) for entry in registry.audit(subject=shop.model)]
    assert found == [("item.putback", ["a"]), ("item.takedown", ["a", "b"])]


def test_what_can_not_be_listed_is_said(shop: Workspace) -> None:
    with pytest.raises(RequestError, match="one id a line"):
        take_down(shop, ["a\nb"])
    with pytest.raises(ConfigError, match="names no list"):
        take_down(Workspace.open(shop.root, ["serving.takedowns="]), ["a"])


def test_the_commands(shop: Workspace) -> None:
    def run(*words: str) -> str:
        done = CliRunner().invoke(build_app(), ["takedowns", *words, "-w", str(shop.root)])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert json.loads(run("add", "[b]", "a", "--json"))["changed"] == 2
    assert run("list") == "[b]\na\n"
    run("remove", "a")
    assert json.loads(run("list", "--json")) == ["[b]"]
