"""The tracks of the quality bench: their settings are valid, and each says what can be retrieved."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrieval.config import load_settings
from retrieval.workflows.workspace.recipes import load_recipe
from retrieval.workflows.workspace.settings import Settings
from tests.bench.quality.datasets import DATASETS, TRACKS, check_track


@pytest.mark.parametrize(
    ("name", "track"), [(name, track) for name, data in DATASETS.items() for track in data.recipes]
)
def test_a_track_fixes_what_can_be_retrieved(tmp_path: Path, name: str, track: str) -> None:
    data = DATASETS[name]
    path = tmp_path / "retrieval.toml"
    path.write_text("")
    under = load_recipe(data.recipes[track]).settings
    flags = [*data.inputs[track], *data.protocol_of(track), *next(iter(data.cuts.values()))]
    settings = load_settings(path, Settings, under=under, flags=flags, environment={})
    check_track(track, settings.features)
    assert track in TRACKS
    fixed = {flag.partition("=")[0] for flag in data.protocol_of(track)}
    assert {"corpus.items", "corpus.refresh_minutes"} <= fixed
    assert {"corpus.allow_seen", "corpus.seen_hours"} & fixed
    by_time = name in {"globo", "globo_untouched", "online_retail"} or track == "time-split"
    assert settings.data.split.method == ("time" if by_time else "leave_one_out")
