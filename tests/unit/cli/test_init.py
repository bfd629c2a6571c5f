from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retrieval.features.kinds import KINDS
from retrieval.features.spec import FeatureSpec
from retrieval.registry.database import HEAD
from retrieval.workflows.workspace import Settings, Workspace
from retrieval.workflows.workspace.template import settings_template


def test_it_makes_a_workspace_that_is_valid_and_has_the_defaults(run: Callable[..., Any], tmp_path: Path) -> None:
    ran = run("init", tmp_path / "shop", "--model", "homefeed", "--json")
    assert ran.code == 0
    opened = Workspace.open(tmp_path / "shop")
    assert opened.model == "homefeed"
    assert opened.settings.model_copy(update={"model": Settings().model}) == Settings()
    assert ran.json["workspace"] == str((tmp_path / "shop").resolve())


def test_it_overwrites_nothing(run: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "retrieval.toml"
    path.write_text("mine")
    ran = run("init", tmp_path)
    assert ran.code == 7
    assert "exists; it is left as it is" in ran.err
    assert path.read_text() == "mine"


def test_a_model_name_that_is_none_is_refused_and_nothing_written(run: Callable[..., Any], tmp_path: Path) -> None:
    ran = run("init", tmp_path / "shop", "--model", "Home Feed")
    assert ran.code == 2
    assert not (tmp_path / "shop").exists()


def test_it_makes_the_registry_and_the_stores(run: Callable[..., Any], tmp_path: Path) -> None:
    assert run("init", tmp_path / "shop").code == 0
    for command in (("status",), ("list", "versions"), ("gc",), ("users", "show", "u1")):
        ran = run(*command, "-w", tmp_path / "shop")
        assert ran.code == (4 if command[0] == "users" else 0), ran.err
    assert (tmp_path / "shop" / "store").is_dir()


def test_no_command_but_upgrade_makes_what_is_missing(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "retrieval.toml").write_text('[model]\nname = "feed"\n')
    commands = (("status",), ("list", "versions"), ("gc",), ("deploy", "1"), ("rollback",), ("users", "show", "u1"))
    for command in commands:
        ran = run(*command, "-w", tmp_path)
        assert ran.code in {4, 9}, ran
        assert "retrieval upgrade" in ran.err, ran
    assert [path.name for path in tmp_path.iterdir()] == ["retrieval.toml"]
    made = run("upgrade", "-w", tmp_path, "--json").json
    assert (made["registry"]["before"], made["registry"]["after"]) == ("", HEAD)
    assert run("status", "-w", tmp_path).code == 0
    again = run("upgrade", "-w", tmp_path)
    assert "up to date" in again.out
    assert run("upgrade", "-w", tmp_path, "--json").json["registry"]["before"] == HEAD


def test_what_can_not_be_made_now_can_be_made_later(run: Callable[..., Any], tmp_path: Path, monkeypatch: Any) -> None:
    with monkeypatch.context() as away:
        away.setenv("RETRIEVAL_REGISTRY__URL", "postgresql://user@127.0.0.1:1/db")
        ran = run("init", tmp_path)
    assert ran.code == 9
    assert "is written, but registry" in ran.err
    assert run("upgrade", "-w", tmp_path).code == 0
    assert run("status", "-w", tmp_path).code == 0


def uncommented(text: str) -> str:
    return re.sub(r"(?m)^#(?=\[|[A-Za-z_]+ = )", "", text)


def test_every_commented_line_may_be_switched_on_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "retrieval.toml"
    path.write_text(uncommented(settings_template("feed")), encoding="utf-8")
    settings = Workspace.open(tmp_path).settings
    defaults = Settings()
    for name in Settings.model_fields:
        if name not in {"model", "features"}:
            assert getattr(settings, name) == getattr(defaults, name), name
    kinds = {feature.kind for side in ("user", "item", "context") for feature in settings.features.declared(side)}
    assert kinds == set(KINDS.named)


def test_every_setting_is_in_the_file_with_its_meaning() -> None:
    text = settings_template()

    def check(section: Any) -> None:
        for name, field in section.model_fields.items():
            if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
                check(field.annotation)
            elif section is not FeatureSpec:
                assert re.search(rf"(?m)^# ?{name} = ", text), (section, name)
                assert field.description, (section, name)

    check(Settings)


def test_it_names_bounds_and_choices() -> None:
    text = settings_template()
    assert '("leave_one_out" or "time")' in " ".join(text.replace("\n#", "").split())
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("line", ["[training]\nepochs = 3", '[index]\nann = "exact"'])
def test_a_changed_line_is_what_counts(tmp_path: Path, line: str) -> None:
    section, assignment = line.split("\n")
    name = assignment.split(" = ")[0]
    text = re.sub(rf"(?m)^#{name} = .*$", assignment, settings_template(), count=1)
    (tmp_path / "retrieval.toml").write_text(text, encoding="utf-8")
    changed = getattr(Workspace.open(tmp_path).settings, section.strip("[]"))
    assert str(getattr(changed, name)) == assignment.split(" = ")[1].strip('"')
