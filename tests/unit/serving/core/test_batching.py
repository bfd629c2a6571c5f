from __future__ import annotations

import threading

from retrieval.serving.core.batching import Batcher


def test_what_arrives_while_workers_are_busy_is_taken_together() -> None:
    seen: list[list[int]] = []
    gate, entered, done = threading.Event(), threading.Event(), threading.Semaphore(0)

    def work(batch: list[int]) -> None:
        seen.append(batch)
        entered.set()
        gate.wait(10)
        for _ in batch:
            done.release()

    batcher = Batcher(work, workers=1, largest=4)
    batcher.submit(0)
    assert entered.wait(10)
    for number in range(1, 8):
        batcher.submit(number)
    gate.set()
    for _ in range(8):
        assert done.acquire(timeout=10)
    batcher.close()
    assert seen == [[0], [1, 2, 3, 4], [5, 6, 7]]


def test_closing_lets_what_waits_finish() -> None:
    seen: list[int] = []
    batcher = Batcher(seen.extend, workers=3, largest=2)
    for number in range(50):
        batcher.submit(number)
    batcher.close()
    assert sorted(seen) == list(range(50))
