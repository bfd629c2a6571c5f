"""A workspace is made, opened and found again, its settings laid over one another in one order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from retrieval.errors import ConfigError, ConflictError, NotFoundError
from retrieval.workflows.workspace import Settings, Workspace, create_workspace, open_workspace


def test_settings_lie_over_a_recipe_and_the_model_over_both(tmp_path: Path) -> None:
    given = {"towers": {"dim": 48}, "model": {"name": "other"}, "data": {"split": {"test_hours": 5.0}}}
    made = create_workspace(tmp_path / "shop", model="feed", recipe="long-histories", settings=given)
    assert (made.root, made.model) == ((tmp_path / "shop").resolve(), "feed")
    assert made.settings.towers.dim == 48
    assert made.settings.data.split.test_hours == 5.0
    assert made.settings.training != Settings().training
    assert Workspace.open(tmp_path / "shop").settings == made.settings


def test_without_anything_it_has_the_defaults_and_its_stores(tmp_path: Path) -> None:
    made = create_workspace(tmp_path)
    assert made.settings == Settings()
    made.registry().close()
    assert made.store().keys("models") == []
    with pytest.raises(ConflictError, match="left as it is"):
        create_workspace(tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "Home Feed"}, "model 'Home Feed'"),
        ({"settings": {"towers": {"dims": 3}}}, r"towers\.dims: no such setting; did you mean 'dim'"),
        ({"settings": {"towers": {"dim": "big"}}}, r"towers\.dim: .*'big'"),
        (
            {"settings": {"corpus": {"seen_by": ["series"]}, "index": {"attributes": ["colour"]}}},
            r"corpus\.seen_by names series, which index\.attributes leaves out",
        ),
    ],
)
def test_what_is_wrong_is_named_and_nothing_written(tmp_path: Path, given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_workspace(tmp_path / "shop", **given)  # type: ignore[arg-type]
    with pytest.raises(NotFoundError, match="no recipe"):
        create_workspace(tmp_path / "shop", recipe="nothing")
    assert not (tmp_path / "shop").exists()


def test_a_workspace_is_found_where_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "named", "given"):
        create_workspace(tmp_path / name, model=name)
    (tmp_path / "here" / "below").mkdir()
    monkeypatch.chdir(tmp_path / "here" / "below")
    assert open_workspace().model == "here"
    monkeypatch.setenv("RETRIEVAL_WORKSPACE", os.fspath(tmp_path / "named"))
    assert open_workspace().model == "named"
    assert open_workspace(tmp_path / "given").model == "given"
    monkeypatch.delenv("RETRIEVAL_WORKSPACE")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError, match="retrieval init"):
        open_workspace()


def test_flags_go_before_the_environment_and_that_before_file_and_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_workspace(tmp_path, settings={"training": {"epochs": 3}})
    assert open_workspace(tmp_path, recipe="long-histories").settings.training.epochs == 3
    monkeypatch.setenv("RETRIEVAL_TRAINING__EPOCHS", "4")
    assert open_workspace(tmp_path).settings.training.epochs == 4
    assert open_workspace(tmp_path, ["training.epochs=5"]).settings.training.epochs == 5
