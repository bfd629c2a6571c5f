"""Recording into log and user store: counts by call, and a history that has what the log has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from retrieval.data.config import DataConfig
from retrieval.data.event_log.config import EventsConfig
from retrieval.data.event_log.event import Event, Recorded, Rejected
from retrieval.data.event_log.log import EventLog
from retrieval.errors import UnavailableError
from retrieval.serving.events.recorder import LogRecorder
from retrieval.serving.users.store import UserStore

AT = 1_700_000_000_000_000


def event(name: str, user: str = "u", item: str = "i", at: int = AT) -> Event:
    return Event(name, user, item, at)


@pytest.fixture
def users(tmp_path: Path) -> Iterator[UserStore]:
    with closing(UserStore.create(tmp_path / "users", gib=1)) as store:
        yield store


@pytest.fixture
def recorder(tmp_path: Path, users: UserStore) -> Iterator[LogRecorder]:
    with closing(EventLog(EventsConfig(segment_s=3600.0), DataConfig(), tmp_path)) as log:
        yield LogRecorder(log, users, history_events=100)


def test_each_call_of_a_group_gets_its_own_counts_and_positions(recorder: LogRecorder) -> None:
    calls = [[event("1"), event("")], [], [event("1"), event("2", user=""), event("3")]]
    assert recorder._record(calls) == [
        Recorded(1, 0, (Rejected(1, "event_id is empty"),)),
        Recorded(0, 0),
        Recorded(1, 1, (Rejected(1, "user is empty"),)),
    ]
    assert recorder.record([]) == Recorded(0, 0)


def test_a_history_gets_what_is_sent_again_after_it_could_not_be_written(
    recorder: LogRecorder, users: UserStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise UnavailableError("the user store can't be written")

    with monkeypatch.context() as broken:
        broken.setattr(UserStore, "append", full)
        with pytest.raises(UnavailableError):
            recorder.record([event("1", at=AT)])
    assert users.get("u") is None
    assert recorder.record([event("1", at=AT), event("2", item="j", at=AT + 1)]) == Recorded(1, 1)
    found = users.get("u")
    assert found is not None
    assert found.history.item_ids == ["i", "j"]
    assert found.history.actions == ["unknown", "unknown"]
