"""Recording the lines of a file as they are written, from where the last run stopped."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from retrieval.backoff import Backoff
from retrieval.data.event_log.event import Event, Recorded
from retrieval.data.event_log.json_lines import Line, parse_lines
from retrieval.data.event_log.log import EventLog
from retrieval.data.event_log.rejects import REJECTS, write_bad_lines
from retrieval.data.reading.forgotten import ForgottenFile, forgotten_file
from retrieval.errors import ConfigError, DeadlineError, UnavailableError
from retrieval.serving.events.recorder import LogRecorder, Recorder
from retrieval.serving.users.store import UserStore
from retrieval.serving.wire.event_client import EventClient
from retrieval.workflows.events.lines import Lines, file_lines
from retrieval.workflows.fleet.discovery import find_event_service
from retrieval.workflows.workspace.workspace import Workspace

_PAUSES = Backoff(first_s=0.2, longest_s=10.0)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Followed:
    """What became of the lines of a run; empty ones don't count. `rejected` is by reason."""

    lines: int
    recorded: int
    duplicates: int
    rejected: dict[str, int]


def follow_file(
    workspace: Workspace,
    path: Path,
    *,
    to: str | None = None,
    once: bool = False,
    every_s: float = 0.5,
    grace_s: float = 5.0,
    stop: threading.Event | None = None,
    said: Callable[[str], None] = lambda _: None,
) -> Followed:
    """Record the lines of a JSON-lines file, until `stop` is set; with `once`, those that are there.

    How far the file was read is kept beside the event log: the next run goes on there, and what was recorded and not
    noted is found to be a duplicate. Otherwise as `record_lines`.

    Raises as it does, ConflictError where another process follows the file, NotFoundError where there is no such file.
    """
    _check_enabled(workspace)
    with file_lines(workspace, path, grace_s=0.0 if once else grace_s) as lines:
        return record_lines(workspace, lines, to=to, once=once, every_s=every_s, stop=stop, said=said)


def record_lines(
    workspace: Workspace,
    lines: Lines,
    *,
    to: str | None = None,
    once: bool = False,
    every_s: float = 0.5,
    stop: threading.Event | None = None,
    said: Callable[[str], None] = lambda _: None,
) -> Followed:
    """Record lines of JSON as they come, until `stop` is set; with `once`, until they have ended.

    They go to the event service at `to` (host:port), else to that of the workspace's local fleet, else into the event
    log by this process itself. What is away is waited for.

    Raises ConfigError where events.enabled is off, ConflictError where another process records into the log.
    """
    _check_enabled(workspace)
    stop = stop or threading.Event()
    found = lines.read()  # what can't be read is said before anything is opened
    with _recorder(workspace, to, said) as recorder:
        work = _Following(workspace, recorder, stop)
        while not stop.is_set():
            if found and not work.record(found):
                break
            if found:
                lines.keep()
            elif once and lines.ended:
                break
            elif not once:
                stop.wait(every_s)
            found = lines.read()
        return work.result()


def _check_enabled(workspace: Workspace) -> None:
    if not workspace.settings.events.enabled:
        raise ConfigError("events.enabled is false; `enabled = true` under [events] in retrieval.toml lets events in")


class _Following:
    """Lines of a file on their way into the log, and the counts of them."""

    def __init__(self, workspace: Workspace, recorder: Recorder, stop: threading.Event) -> None:
        self._settings, self._recorder, self._stop = workspace.settings, recorder, stop
        self._rejects = (workspace.root / workspace.settings.data.events).parent / REJECTS
        self._lines = self._recorded = self._duplicates = 0
        self._rejected: dict[str, int] = {}
        self._ignored: set[str] = set()

    def record(self, lines: Sequence[Line]) -> bool:
        """Record lines, however long it takes; False where it was stopped before."""
        events, bad = parse_lines(lines, self._settings.data)
        done = self._send(events)
        if done is None:
            return False
        write_bad_lines(self._rejects, bad, limit_bytes=self._settings.events.rejects_mib << 20)
        self._lines += len(events) + len(bad)
        self._recorded += done.recorded
        self._duplicates += done.duplicates
        for reason in [*(one.reason for one in done.rejected), *(one.reason for one in bad)]:
            self._rejected[reason] = self._rejected.get(reason, 0) + 1
        if new := set(done.ignored) - self._ignored:
            _log.warning("columns that data.context_columns doesn't name are left out: %s", ", ".join(sorted(new)))
            self._ignored |= new
        return True

    def result(self) -> Followed:
        """The counts so far."""
        return Followed(self._lines, self._recorded, self._duplicates, dict(sorted(self._rejected.items())))

    def _send(self, events: Sequence[Event]) -> Recorded | None:
        failures = 0
        while not self._stop.is_set():
            try:
                return self._recorder.record(events)
            except (UnavailableError, DeadlineError) as error:
                failures += 1
                pause = _PAUSES.wait_s(failures)
                _log.warning("events can't be recorded now, again in %.1f s: %s", pause, error)
                self._stop.wait(pause)
        return None


@contextmanager
def _recorder(workspace: Workspace, to: str | None, said: Callable[[str], None]) -> Iterator[Recorder]:
    settings = workspace.settings
    address = to or find_event_service(workspace)
    with ExitStack() as opened:
        if address:
            client = EventClient(address, per_message=min(500, settings.events.max_batch))
            opened.callback(client.close)
            said(f"recording by the event service at {address}")
            yield client
            return
        folder = workspace.root / settings.serving.user_store
        users = UserStore.open(folder, gib=settings.serving.user_store_gib, write=True)
        opened.callback(users.close)
        log = EventLog(settings.events, settings.data, workspace.root)
        opened.callback(log.close)
        said(f"recording into {workspace.root / settings.data.events}")
        forgotten = ForgottenFile(forgotten_file(settings.data, workspace.root))
        yield LogRecorder(log, users, history_events=settings.events.history_events, forgotten=forgotten)


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set while the block runs."""
    stop = threading.Event()
    before = {each: signal.signal(each, lambda *_: stop.set()) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
