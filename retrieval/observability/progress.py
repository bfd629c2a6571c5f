"""Progress of long work: a bar where a person watches, one line every few seconds where a log file does."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_LINE_EVERY_S = 5.0


class Tracker(Protocol):
    """What long work reports to."""

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Say that `amount` more units are done; `note` (a rate, a loss) is shown beside the bar."""


class _Silent:
    def advance(self, amount: int = 1, note: str = "") -> None:
        pass


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._progress.update(self._task, advance=amount, note=note)


class _Lines:
    def __init__(self, console: Console, title: str, total: int | None, unit: str) -> None:
        self._console, self._title, self._total, self._unit = console, title, total, unit
        self._done = 0
        self._started = self._shown = time.monotonic()

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._shown >= _LINE_EVERY_S:
            self._shown = now
            self._console.print(self._line(now, note), highlight=False, soft_wrap=True)

    def _line(self, now: float, note: str) -> str:
        rate = self._done / max(now - self._started, 1e-9)
        left = f", {(self._total - self._done) / rate:.0f} s left" if self._total and rate else ""
        of = f" of {self._total:,}" if self._total else ""
        return f"{self._title}: {self._done:,}{of} {self._unit} ({rate:,.0f}/s{left}) {note}".rstrip()


SILENT: Tracker = _Silent()
"""Reports nothing; the default of every function that takes a Tracker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """How far a piece of work is: so many units `done`, of so many (None: not known)."""

    title: str
    done: int
    total: int | None
    unit: str
    note: str = ""


Listener = Callable[[Reached], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def told_to(listener: Listener) -> Iterator[None]:
    """While the block runs, `listener` is told how far whatever is tracked in it is, shown or not; often: be quick."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


class _Told:
    def __init__(self, shown: Tracker, listener: Listener, title: str, total: int | None, unit: str) -> None:
        self._shown, self._listener = shown, listener
        self._title, self._total, self._unit = title, total, unit
        self._done = 0

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._shown.advance(amount, note)
        self._done += amount
        self.tell(note)

    def tell(self, note: str = "") -> None:
        self._listener(Reached(title=self._title, done=self._done, total=self._total, unit=self._unit, note=note))


@contextmanager
def track(title: str, total: int | None, *, unit: str = "", show: bool = True) -> Iterator[Tracker]:
    """Show the progress of one piece of work on stderr while the block runs; `total` is None where it isn't known."""
    listener = _listener.get()
    with _shown(title, total, unit=unit, show=show) as shown:
        if listener is None:
            yield shown
            return
        told = _Told(shown, listener, title, total, unit)
        told.tell()
        yield told


@contextmanager
def _shown(title: str, total: int | None, *, unit: str, show: bool) -> Iterator[Tracker]:
    if not show:
        yield SILENT
        return
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield _Lines(console, title, total, unit)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=False) as progress:
        yield _Bar(progress, progress.add_task(title, total=total, note=""))
