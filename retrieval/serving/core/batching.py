"""Micro-batches: while all workers are busy, arriving work gathers, and the next free worker takes it together.

A worker never waits for more to come: with one caller at a time each piece of work runs at once and alone.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Batcher(Generic[T]):
    """Runs `work` on lists of 1 to `largest` pieces, `workers` lists at a time."""

    def __init__(self, work: Callable[[list[T]], None], *, workers: int, largest: int) -> None:
        """`work` must deal with its own errors: what it raises ends a worker."""
        self._work, self._largest = work, largest
        self._waiting: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"batch-{number}", daemon=True) for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, piece: T) -> None:
        """Put a piece of work into the next batch."""
        self._waiting.put(piece)

    def close(self) -> None:
        """End the workers once what waits is done."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            first = self._waiting.get()
            if first is None:
                return
            batch = [first]
            ending = False
            try:
                while len(batch) < self._largest:
                    more = self._waiting.get_nowait()
                    if more is None:
                        ending = True
                        break
                    batch.append(more)
            except queue.Empty:
                pass
            self._work(batch)
            if ending:
                return
