from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import retrieval
from retrieval.errors import ConfigError, ConflictError, DataError, NotFoundError
from tests.unit.api.conftest import SMALL, tables


@pytest.mark.parametrize("kind", ["pandas", "polars", "polars lazy", "duckdb", "paths"])
def test_a_log_is_the_same_from_whatever_holds_it(kind: str, tmp_path: Path) -> None:
    given = tables(kind, tmp_path)
    shop = retrieval.Workspace.create(tmp_path / "shop", **given, context=["device"], settings=SMALL, show=False)
    stats = shop.stats()
    assert (stats["users"], stats["items"]) == (60, 40)
    assert stats["events"] == len(tables("pandas", tmp_path)["events"])
    named = {column["name"] for column in stats["columns"]}
    assert named >= {"country", "height", "colour", "tags", "title", "price", "device"}


def test_a_workspace_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    given = tables("pandas", tmp_path)
    retrieval.Workspace.create(tmp_path / "shop", **given, show=False)
    before = (tmp_path / "shop" / "retrieval.toml").read_bytes()
    with pytest.raises(ConflictError):
        retrieval.Workspace.create(tmp_path / "shop", **given, show=False)
    assert (tmp_path / "shop" / "retrieval.toml").read_bytes() == before


@pytest.mark.parametrize("there", [False, True])
def test_what_could_not_be_made_can_be_made_again(there: bool, tmp_path: Path) -> None:
    given = tables("pandas", tmp_path)
    if there:
        (tmp_path / "shop").mkdir()
        (tmp_path / "shop" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="no column 'customer'"):
        retrieval.Workspace.create(tmp_path / "shop", **given, user="customer", show=False)
    assert (tmp_path / "shop" / "notes.txt").exists() == there
    retrieval.Workspace.create(tmp_path / "shop", **given, show=False)


def test_a_wrong_setting_names_its_key(tmp_path: Path) -> None:
    wrong = {"training.epochs": 0}
    with pytest.raises(ConfigError, match=r"training\.epochs"):
        retrieval.Workspace.create(tmp_path / "shop", **tables("pandas", tmp_path), settings=wrong, show=False)


def test_a_table_that_is_none_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pandas"):
        retrieval.Workspace.create(tmp_path / "shop", events=[1, 2], show=False)


def test_settings_of_one_object_stay_out_of_the_file(shop: retrieval.Workspace) -> None:
    before = (shop.path / "retrieval.toml").read_bytes()
    with pytest.raises(ConfigError, match=r"index\.shards"):
        retrieval.Workspace.open(shop.path, settings={"index.shards": 0})
    assert retrieval.Workspace.open(shop.path, settings={"index.shards": 1}).build_index(show=False).shards == 1
    assert (shop.path / "retrieval.toml").read_bytes() == before


def test_training_gives_a_version_with_metrics_and_curves(shop: retrieval.Workspace) -> None:
    version = shop.version(1)
    assert (version.name, version.number) == ("shop@1", 1)
    assert 0 <= version.metrics["hr@10"] <= 1
    assert {"epoch", "loss", "hr@10"} <= set(version.curves.column_names)
    assert shop.version("shop@1").space_id == version.space_id
    assert shop.train(show=False).name == "shop@1"  # the same inputs are the same version
    assert [one.name for one in shop.versions()] == ["shop@1"]
    assert version.evaluate(show=False).metrics["hr@10"] == pytest.approx(version.metrics["hr@10"], abs=1e-6)


def test_a_report_is_one_page(shop: retrieval.Workspace, tmp_path: Path) -> None:
    page = shop.version().report(tmp_path / "shop.html", show=False)
    assert "shop@1" in page.read_text(encoding="utf-8")


def test_an_index_knows_its_version_and_gives_its_vectors(shop: retrieval.Workspace) -> None:
    build = shop.build(1)
    assert (build.name, build.version, build.shards, build.items) == ("shop-b1", "shop@1", 2, 40)
    assert build.space_id == shop.version().space_id
    vectors = build.vectors()
    assert sorted(vectors["item_id"].to_pylist()) == sorted(f"i{n}" for n in range(40))
    lengths = np.linalg.norm(np.stack(vectors["vector"].to_pylist()), axis=1)
    assert lengths == pytest.approx(np.ones(40), abs=1e-4)
    build.verify(show=False)


def test_without_a_build_there_is_nothing_to_retrieve(tmp_path: Path) -> None:
    shop = retrieval.Workspace.simulate(tmp_path / "shop", users=50, items=40, days=3, show=False)
    assert shop.stats()["users"] >= 50
    with pytest.raises(NotFoundError, match="build_index"):
        shop.retriever(show=False)
    with pytest.raises(NotFoundError):
        shop.version()
