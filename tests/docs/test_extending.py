"""The strategies of one's own that docs/how-to/extending.md shows are of the shape that is needed, and learn."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from retrieval.config import FILE_NAME, load_settings
from retrieval.features import Features, fit_features
from retrieval.towers.config import TowerConfig
from retrieval.towers.encoders import make_encoder
from retrieval.training.config import TrainingConfig
from retrieval.training.losses import make_loss
from retrieval.training.losses.comparison import Comparison
from retrieval.workflows.workspace import Settings
from tests.docs.pages import ROOT, blocks
from tests.tiny import tiny_dataset

PAGE = ROOT / "docs" / "how-to" / "extending.md"


@pytest.fixture(autouse=True)
def _mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's files, importable while a test runs."""
    for block in blocks(PAGE, "python"):
        path = tmp_path / "code" / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


def _settings(section: str) -> dict[str, Any]:
    """What the page's TOML says of a section."""
    found = [tomllib.loads(block.text).get(section) for block in blocks(PAGE, "toml")]
    return next(each for each in found if each)


def test_the_encoder_is_causal_and_serves_what_it_trains() -> None:
    config = TowerConfig(**_settings("towers"), dim=16)
    encoder = make_encoder(config, time_bias=False)
    tokens, times = torch.randn(3, 6, 16), torch.zeros(3, 6, dtype=torch.int64)
    lengths = torch.tensor([1, 4, 6])
    states = encoder(tokens, times, times)
    at_end = states[torch.arange(3), lengths - 1]
    torch.testing.assert_close(encoder.last(tokens, lengths, times, times), at_end)
    later = tokens.clone()
    later[:, 4:] += 1.0
    torch.testing.assert_close(encoder(later, times, times)[:, :4], states[:, :4])


def test_the_loss_falls_as_the_positive_rises_and_leaves_the_hit_out() -> None:
    loss = make_loss(TrainingConfig(**_settings("training")))
    users, negatives = torch.randn(4, 8), torch.randn(5, 8)

    def at(positives: float, hits: torch.Tensor) -> float:
        return float(
            loss(
                Comparison(
                    users=users,
                    negatives=negatives,
                    bias=torch.zeros(5),
                    positives=torch.full((4,), positives),
                    hits=hits,
                    weights=torch.full((4,), 0.25),
                    own_bias=torch.zeros(4),
                    others=torch.zeros(4),
                    draws=5,
                    items=100,
                    corrected=True,
                )
            )
        )

    none, first = torch.full((4,), -1), torch.zeros(4, dtype=torch.int64)
    assert at(100.0, none) == 0.0
    assert at(-1.0, none) > at(0.0, none) > 0.0
    assert at(-9.0, first) < at(-9.0, none)


def test_the_feature_is_fitted_saved_and_loaded_as_any_other(tmp_path: Path) -> None:
    text = next(block.text for block in blocks(PAGE, "toml") if "mine.features" in block.text)
    (tmp_path / FILE_NAME).write_text(text, encoding="utf-8")
    spec = load_settings(tmp_path / FILE_NAME, Settings, environment={}).features
    dataset = tiny_dataset(tmp_path / "workspace")
    from retrieval.data import leave_one_out

    fit_features(spec, dataset, leave_one_out(dataset.histories)).save(tmp_path / "made")
    encoded = Features.load(tmp_path / "made").encode("item", {"title": ["one", None, "two words", "a b c d e"]}, 4)
    assert encoded["title_words"].tolist() == [1, 0, 2, 3]
