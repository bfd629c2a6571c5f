"""A quota for new items, from the setting to the answer: asked in this process."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import retrieval
from tests.unit.api.conftest import SMALL, tables

NEW = [f"n{number}" for number in range(10)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a build, in whose catalogue are items without any event."""
    root = tmp_path_factory.mktemp("new")
    given = tables("pandas", root)
    given["items"] = pd.concat([given["items"], given["items"].head(10).assign(item_id=NEW)])
    settings = {**SMALL, "corpus.items": "catalog"}
    made = retrieval.Workspace.create(root / "shop", **given, context=["device"], settings=settings, show=False)
    made.train(show=False)
    made.build_index(show=False)
    return made.path


def _asked(path: Path, share: float, **keywords: object) -> list[retrieval.Candidates]:
    shop = retrieval.Workspace.open(path, settings={"serving.exploration": share})
    with shop.retriever(1, show=False) as retriever:
        return list(retriever.batch([f"u{n}" for n in range(20)], k=10, **keywords))  # type: ignore[arg-type]


def test_off_by_default_answers_are_as_without(path: Path) -> None:
    with retrieval.Workspace.open(path).retriever(1, show=False) as retriever:
        assert retriever.candidates("u1", k=10).new_items == 0


def test_the_quota_is_met_and_said(path: Path) -> None:
    usual, explored = _asked(path, 0.0), _asked(path, 0.3)
    for without, found in zip(usual, explored, strict=True):
        new = [item for item in found.item_ids if item in NEW]
        assert found.new_items == 3
        assert len(new) >= 3
        assert len(found) == 10
        assert without.new_items == 0
        kept = [item for item in found.item_ids if item in without.item_ids]
        assert kept == [item for item in without.item_ids if item in kept]
        assert sorted(found.scores, reverse=True) == found.scores.tolist()
    assert any(found.item_ids != without.item_ids for without, found in zip(usual, explored, strict=True))


def test_filters_hold_for_new_items_too(path: Path) -> None:
    for found in _asked(path, 0.5, filter={"colour": "red"}, attributes=["colour"]):
        assert found.new_items == 3  # n0, n4 and n8
        assert set(found.attributes["colour"].values) == {("red",)}
