"""Events recorded while the recorder is killed: what was acknowledged is there, and nothing is there twice."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from retrieval.data import open_dataset
from retrieval.data.config import DataConfig
from retrieval.data.reading.sources import list_files
from tests.chaos.event_recorder import numbered

EVENTS, BATCH, SEGMENT = 4000, 7, 60
KILLS = 6
_ROOT = Path(__file__).resolve().parents[2]


def _record(root: Path, first: int, *, kill_after: int | None) -> int:
    """Record from `first` on, kill -9 once so many lines were said; returns how far it said that it came."""
    argv = [sys.executable, "-m", "tests.chaos.event_recorder", str(root), *map(str, (first, EVENTS, BATCH, SEGMENT))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as process:
        assert process.stdout is not None
        said, lines = first, 0
        for line in process.stdout:
            said, lines = int(line), lines + 1
            if lines == kill_after:
                process.kill()
    assert process.returncode == (0 if kill_after is None else -9)
    return said


@pytest.mark.parametrize("seed", [1])
def test_killed_many_times_no_event_is_lost_and_none_is_there_twice(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    said = 0
    for _ in range(KILLS):
        resent = max(0, said - chance.randrange(3 * SEGMENT))  # at least once: some are sent again
        said = _record(tmp_path, resent, kill_after=chance.randrange(2, 40))
    _record(tmp_path, max(0, said - 2 * SEGMENT), kill_after=None)

    files = list_files(tmp_path / "data" / "events", "events")
    found = Counter(name for file in files for name in pq.read_table(file)["event_id"].to_pylist())
    assert [name for name, times in found.items() if times > 1] == []
    assert set(found) == {numbered(number).event_id for number in range(EVENTS)}
    assert open_dataset(DataConfig(), tmp_path, show=False).histories.events == EVENTS
    assert list((tmp_path / "data" / "event-log").glob("*.journal")) == []
