"""Tells the registry how far a job is and that it is alive: at a steady rate, however often the job says so."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

from retrieval.errors import ConflictError, UnavailableError
from retrieval.observability import Reached
from retrieval.registry import JobProgress, JobRow, Registry

_log = logging.getLogger(__name__)
REPORT_EVERY_S = 1.0


class Reporter:
    """While the block runs, one report in so many seconds. The job's own thread is never held up by the registry."""

    def __init__(
        self,
        registry: Registry,
        job: JobRow,
        *,
        cancelled: Callable[[], None],
        lost: Callable[[str], None],
        every_s: float = REPORT_EVERY_S,
    ) -> None:
        """`cancelled` is called once the job is to be cancelled; `lost`, once it is another process's: it must end."""
        self._registry, self._job = registry, job
        self._cancelled, self._lost, self._every_s = cancelled, lost, every_s
        self._progress = JobProgress()
        self._lock, self._end = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def begins(self, step: str, number: int, count: int) -> None:
        """A step begins."""
        with self._lock:
            self._progress = JobProgress(step=step, step_number=number, step_count=count)

    def reached(self, found: Reached) -> None:
        """The step has come so far."""
        note = f"{found.title} ({found.unit})" if found.unit else found.title
        said = f"{note}: {found.note}" if found.note else note
        with self._lock:
            self._progress = replace(self._progress, done=found.done, total=found.total, note=said)

    def __enter__(self) -> Reporter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        away = ended = False
        while not ended:
            ended = self._end.wait(self._every_s)  # once more at the end: the last word is how far it came
            try:
                if self._report().cancel:
                    self._cancelled()
                away = False
            except ConflictError as error:
                self._lost(str(error))
                return
            except UnavailableError as error:
                if not away:
                    _log.warning("how far the job is can't be told now: %s", error)
                away = True

    def _report(self) -> JobRow:
        with self._lock:
            progress = self._progress
        return self._registry.jobs.report(self._job.id, self._job.token, progress)
