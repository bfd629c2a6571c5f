"""Refreshing again and again, in the foreground: what `retrieval serve all --refresh` runs beside the services."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from retrieval.data import Dataset, open_dataset
from retrieval.data.dataset import HISTORIES, histories_folder, remove_unless_opened
from retrieval.errors import RetrievalError
from retrieval.workflows.fleet.services import end_with
from retrieval.workflows.fleet.users import load_changed_users
from retrieval.workflows.indexing.refresh import RefreshOutcome, refresh_index
from retrieval.workflows.workspace import Workspace

_log = logging.getLogger(__name__)


def run_refreshes(
    workspace: Workspace,
    every_s: float,
    *,
    device: str = "auto",
    parent: int | None = None,
    done: Callable[[RefreshOutcome], None] = lambda _: None,
) -> None:
    """Refresh the index, and the users who had new events, every `every_s` seconds until SIGTERM or SIGINT.

    What fails is logged, and tried again the next time: meanwhile, what is served goes on being served. A signal ends
    what is under way at once, but for a change of the hosts, which is carried through. With `parent`, this process ends
    when that one does; `done` is told of every refresh.
    """
    from retrieval.observability import set_up_logs

    set_up_logs()
    end_with(parent)
    with _Ending() as ending:
        due = time.monotonic()
        built = _BuiltHistories(workspace.root)
        while not ending.wait(due - time.monotonic()):
            due = max(due + every_s, time.monotonic())
            try:
                done(_refresh_all(workspace, device, ending, built))
            except RetrievalError as error:
                _log.warning("refresh failed, what is served stays as it is: %s", error)


def _refresh_all(workspace: Workspace, device: str, ending: _Ending, built: _BuiltHistories) -> RefreshOutcome:
    """Users first: what they have just engaged with is known before it can be a candidate."""
    dataset = built.open(workspace)
    users = load_changed_users(workspace, dataset)
    found = refresh_index(workspace, device=device, dataset=dataset, uninterrupted=ending.held_off, show=False)
    built.remove_older()
    _log.info(
        "refresh build=%s parent=%s items=%d new=%d moved=%d gone=%d users=%d total_s=%.2f cpu_s=%.2f",
        found.build.id, found.parent.id, found.build.items, found.new, found.moved, found.gone, users.loaded,
        found.total_s, found.cpu_s,
    )  # fmt: skip
    return found


class _BuiltHistories:
    """Histories that this process has built: of each snapshot those before are removed, unless others opened them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._before: dict[Path, int] = {}

    def open(self, workspace: Workspace) -> Dataset:
        """The dataset as it is now. Raises DataError."""
        there = set((self._root / HISTORIES).glob("*"))
        mine = {path for path, built_ns in self._before.items() if path in there and _changed_ns(path) == built_ns}
        dataset = open_dataset(workspace.settings.data, workspace.root, show=False)
        self._path = histories_folder(self._root, dataset.snapshot)
        if self._path not in there or self._path in mine:
            self._before[self._path] = _changed_ns(self._path)
        return dataset

    def remove_older(self) -> None:
        """Remove those that what was opened last has replaced."""
        for path in [path for path in self._before if path != self._path]:
            remove_unless_opened(path, self._before.pop(path))


def _changed_ns(path: Path) -> int:
    return path.stat().st_mtime_ns


class _Ending:
    """Turns SIGTERM and SIGINT into the end of the block; within `held_off` they wait until that is left."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._held = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> _Ending:
        for each in (signal.SIGTERM, signal.SIGINT):
            self._before[each] = signal.signal(each, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        for each, handler in self._before.items():
            signal.signal(each, handler)  # type: ignore[arg-type]
        return kind is KeyboardInterrupt and self._asked.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait so long; True at the end."""
        return self._asked.wait(max(0.0, seconds))

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """A part that is carried through."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._asked.is_set():
            raise KeyboardInterrupt

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        _log.info("stopping after %s", signal.Signals(number).name)
        self._asked.set()
        if not self._held:
            raise KeyboardInterrupt
