"""Work of several threads done together: what arrives while one group is being worked on makes the next one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Given = TypeVar("Given")
Done = TypeVar("Done")


@dataclass
class _Entry(Generic[Given, Done]):
    given: Given
    done: Done | None = None
    error: Exception | None = None
    finished: bool = False


class Grouped(Generic[Given, Done]):
    """Gives what threads hand in to `work`, a group at a time, in the order in which they came."""

    def __init__(self, work: Callable[[Sequence[Given]], Sequence[Done]]) -> None:
        """`work` returns one result for each of what it was given; what it raises reaches the whole group."""
        self._work = work
        self._waiting: list[_Entry[Given, Done]] = []
        self._lock, self._turn = threading.Lock(), threading.Lock()

    def __call__(self, given: Given) -> Done:
        """The result for what is given; waits for it."""
        entry: _Entry[Given, Done] = _Entry(given)
        with self._lock:
            self._waiting.append(entry)
        with self._turn:
            if not entry.finished:  # whoever had the turn before may have taken it along
                self._do_waiting()
        if entry.error is not None:
            raise entry.error
        assert entry.done is not None
        return entry.done

    def _do_waiting(self) -> None:
        with self._lock:
            group, self._waiting = self._waiting, []
        try:
            results = self._work([entry.given for entry in group])
            for entry, done in zip(group, results, strict=True):
                entry.done = done
        except Exception as error:  # noqa: BLE001 - raised where each of them waits
            for entry in group:
                entry.error = error
        finally:
            for entry in group:
                entry.finished = True
