"""The quality bench, made by the README's commands, trains what it trains by the package's own calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrieval.config import laid_over
from retrieval.toml_text import toml_text
from retrieval.workflows.workspace import Settings
from retrieval.workflows.workspace.recipes import load_recipe
from retrieval.workflows.workspace.workspace import Workspace
from tests.bench.quality.commands import settings_of
from tests.bench.quality.datasets import DATASETS
from tests.bench.quality.runs import Run, protocol_flags

_TRACKS = [(name, track, cut) for name, data in DATASETS.items() for track in data.recipes for cut in data.cuts]


@pytest.mark.parametrize(("dataset", "track", "cut"), _TRACKS)
def test_the_recipe_of_a_protocol_holds_what_its_flags_say(tmp_path: Path, dataset: str, track: str, cut: str) -> None:
    job = Run(
        dataset=dataset,
        track=track,
        recipe=DATASETS[dataset].recipes[track],
        cut=cut,
        seed=3,
        overrides=("towers.dropout=0.125",),
        targets="test",
        most=100,
        root=tmp_path,
        threads=1,
        show=False,
        source=tmp_path,
    )
    shipped = load_recipe(job.recipe).settings
    (tmp_path / "retrieval.toml").write_text("")
    by_flags = Workspace.open(tmp_path, protocol_flags(job), recipe=shipped).settings
    path = tmp_path / "protocol.toml"
    path.write_text(toml_text(laid_over(shipped, settings_of(protocol_flags(job)))))
    (tmp_path / "retrieval.toml").write_text(path.read_text())
    load_recipe(str(path))  # what it sets, a recipe may set
    assert Workspace.open(tmp_path).settings == by_flags != Settings()
