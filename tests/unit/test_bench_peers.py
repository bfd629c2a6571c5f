"""The comparison with another package: what can be checked without it."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from retrieval.config import FILE_NAME
from retrieval.workflows.workspace import Workspace
from retrieval.workflows.workspace.recipes import load_recipe
from tests.bench.peers import compare


def flags(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int)
    parser.add_argument("--threads", type=int, default=1)
    compare.configure(parser)
    return parser.parse_args(["--peers", *arguments])


def test_every_row_has_valid_settings_and_the_same_shape(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("")
    given = flags("--epochs", "3")
    ours = [one for one in compare.contenders(6040) if one.peer is None]
    assert {one.model for one in ours} == {"transformer", "hstu"}
    for one in ours:
        recipe = load_recipe(one.recipe).settings if one.recipe else None
        overrides = [*one.overrides, *compare._every_run(given, 1)]
        settings = Workspace.open(tmp_path, overrides, recipe=recipe).settings
        assert (settings.training.epochs, settings.features.history.length) == (3, 200)
        if recipe is None:
            assert settings.towers.encoder == one.model
            assert (settings.towers.dim, settings.towers.blocks, settings.towers.heads) == (64, 2, 2)
            assert settings.training.min_batches == 48
            assert settings.features.history.time == (one.model == "hstu")


def test_absent_data_is_skipped_with_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.compare(flags("--data", str(tmp_path / "nowhere"))) == []
    assert "skipped: no ml1m" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_peer_is_what_ours_is_held_against() -> None:
    full, sampled = {"loss": "full softmax"}, {"loss": "sampled softmax"}
    rows = [
        {"loop": "RecTools SASRec", "model": "transformer", "examples_per_s": 10.0, **full},
        {"loop": "RecTools fast_transformers SASRec", "model": "transformer", "examples_per_s": 14.0, **full},
        {"loop": "retrieval transformer, last", "model": "transformer", "examples_per_s": 35.0, **full},
        {"loop": "retrieval transformer, 128", "model": "transformer", "examples_per_s": 35.0, **sampled},
        {"loop": "retrieval transformer, all", "model": "transformer", "failed": "exit code 1", **full},
    ]
    # the faster of its paths, and the same loss only
    found = [row.get("times_peer") for row in compare._beside_the_peer(rows)]
    assert found == [pytest.approx(10 / 14), 1.0, 2.5, None, None]


def test_every_loss_of_ours_has_a_peer_with_the_same() -> None:
    every = compare.contenders(6040)
    peers = {(one.model, one.loss) for one in every if one.peer}
    assert {(one.model, one.loss) for one in every if not one.peer} == peers
    assert {one.peer for one in every if one.peer} == {"sasrec", "flat", "hstu"}
