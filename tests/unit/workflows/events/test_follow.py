"""Following a file of events: recorded once, whatever is interrupted."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from retrieval.backoff import Backoff
from retrieval.cli.main import build_app
from retrieval.data.event_log.event import Event, Recorded
from retrieval.errors import ConfigError, ConflictError, NotFoundError, UnavailableError
from retrieval.serving.events.recorder import LogRecorder
from retrieval.storage.locks import locked
from retrieval.workflows.events.follow import Followed, follow_file
from retrieval.workflows.fleet.users import find_user
from retrieval.workflows.workspace import Workspace, create_workspace

AT = 1_700_000_000_000_000


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    return create_workspace(tmp_path / "shop", settings={"events": {"enabled": True}})


@pytest.fixture
def clicks(tmp_path: Path) -> Path:
    path = tmp_path / "clicks.jsonl"
    add(path, *(line(number) for number in range(5)), "{")
    return path


def line(number: int) -> str:
    return json.dumps({"user_id": "u", "item_id": f"i{number}", "timestamp": AT + number, "action": "click"})


def add(path: Path, *lines: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{one}\n" for one in lines)


def once(shop: Workspace, path: Path) -> Followed:
    return follow_file(shop, path, once=True)


def test_lines_are_events_that_the_data_and_the_user_store_have(shop: Workspace, clicks: Path) -> None:
    done = once(shop, clicks)
    assert (done.lines, done.recorded, done.duplicates, list(done.rejected.values())) == (6, 5, 0, [1])
    add(clicks, line(5))
    assert once(shop, clicks) == Followed(1, 1, 0, {})
    assert shop.dataset(show=False).histories.events == 6
    assert find_user(shop, "u").history.item_ids == [f"i{number}" for number in range(6)]
    [rejected] = [json.loads(one) for one in (shop.root / "data/rejects/recorded.jsonl").read_text().splitlines()]
    assert rejected["line"] == "{"


def test_lines_that_were_recorded_and_not_noted_are_duplicates(shop: Workspace, clicks: Path) -> None:
    once(shop, clicks)
    [kept] = (shop.root / "data" / "event-log" / "followed").glob("*.json")
    kept.unlink()
    done = once(shop, clicks)
    assert (done.recorded, done.duplicates) == (0, 5)


def test_a_log_that_can_not_be_written_is_waited_for(
    shop: Workspace, clicks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([True, True, False])
    record = LogRecorder.record

    def sometimes(self: LogRecorder, events: Sequence[Event]) -> Recorded:
        if next(failures, False):
            raise UnavailableError("full")
        return record(self, events)

    monkeypatch.setattr(LogRecorder, "record", sometimes)
    monkeypatch.setattr("retrieval.workflows.events.follow._PAUSES", Backoff(first_s=0.001, longest_s=0.001))
    assert once(shop, clicks).recorded == 5


def test_it_goes_on_until_it_is_stopped(shop: Workspace, clicks: Path) -> None:
    stop, found = threading.Event(), []
    thread = threading.Thread(
        target=lambda: found.append(follow_file(shop, clicks, stop=stop, every_s=0.01)), daemon=True
    )
    thread.start()
    history: list[str] = []
    add(clicks, line(5))
    while len(history) < 6:
        stop.wait(0.01)
        try:
            history = list(find_user(shop, "u").history.item_ids)
        except NotFoundError:
            continue
    stop.set()
    thread.join(30)
    assert found[0].recorded == 6


def test_what_stands_in_the_way_is_said(shop: Workspace, clicks: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"events\.enabled is false"):
        once(Workspace.open(shop.root, ["events.enabled=false"]), clicks)
    with pytest.raises(NotFoundError, match="nothing"):
        once(shop, tmp_path / "nothing")
    once(shop, clicks)
    state = shop.root / "data" / "event-log"
    with locked(state / ".lock", "events are being recorded"), pytest.raises(ConflictError, match="being recorded"):
        once(shop, clicks)


def test_the_command_prints_the_counts(shop: Workspace, clicks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.observability.set_up_logs", lambda: None)  # this process has logs of its own
    done = CliRunner().invoke(build_app(), ["events", "follow", str(clicks), "--once", "-w", str(shop.root), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["recorded"] == 5
