"""A whole fleet with the event service: what is recorded is in the next request, in the next refresh, and forgotten."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval import Client
from retrieval.workflows.fleet.discovery import find_event_service
from retrieval.workflows.workspace import Workspace
from tests.serving_fleet import SETTINGS, RunningFleet, running_fleet, wait_until, write_workspace
from tests.serving_world import World, make_world

_EVENTS = """
[events]
enabled = true
port = 0
segment_s = 0.5
"""
_ALL = 500


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world whose events lie in a folder, and in whose catalogue an item waits for its first event."""
    made = make_world(tmp_path, versions=1)
    events = made.root / "data" / "events"
    events.mkdir()
    (made.root / "data" / "events.parquet").rename(events / "part-00000.parquet")
    items = pq.read_table(made.root / "data" / "items.parquet")
    place = items.column_names.index("item_id")
    late = items.slice(0, 1).set_column(place, "item_id", pa.array(["late"]))
    pq.write_table(pa.concat_tables([items, late]), made.root / "data" / "items.parquet")
    write_workspace(made, settings=SETTINGS.replace("data/events.parquet", "data/events") + _EVENTS).close()
    return made


@pytest.fixture
def fleet(world: World) -> Iterator[RunningFleet]:
    with running_fleet(world.root, "--refresh", "1s", "--set", "index.min_recall=0") as found:
        yield found


def command(root: Path, *arguments: str) -> Any:
    argv = [sys.executable, "-m", "retrieval.cli.main", *arguments, "--json", "-w", str(root)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_recorded_events_are_served_refreshed_and_forgotten(world: World, fleet: RunningFleet) -> None:
    events = find_event_service(Workspace.open(world.root))
    assert events
    with Client(fleet.address, timeout=20.0, events=events) as client:
        assert "late" not in client.candidates("u2", _ALL, allow_seen=True).item_ids
        [first] = client.candidates("someone new", 1, allow_seen=False).item_ids
        clicks = [{"user_id": "someone new", "item_id": item, "action": "click"} for item in (first, "late")]
        assert client.record_events(clicks).recorded == 2  # type: ignore[arg-type]
        answer = client.candidates("someone new", _ALL, allow_seen=False)
        assert answer.user_known
        assert first not in answer.item_ids

        def is_candidate() -> bool:
            return "late" in client.candidates("u2", _ALL, allow_seen=True).item_ids

        wait_until(is_candidate, 90, what=f"the recorded item\n{fleet.logs()}")
        # loaded from the data by now, the history is what was recorded
        shown = command(world.root, "users", "show", "someone new")
        assert shown["history"]["item_ids"] == [first, "late"]

        receipt = command(world.root, "users", "forget", "someone new", "--yes")
        assert (receipt["history"], receipt["recorded"]) == (2, 2)
        assert not client.candidates("someone new", 5).user_known
        (service,) = [member for member in fleet.state.members if member.role == "events"]
        assert service.restarts == 0, fleet.logs()
