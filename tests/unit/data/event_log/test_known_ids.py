"""Ids of recorded events: found again as long as they are kept, over restarts."""

from __future__ import annotations

from pathlib import Path

from retrieval.data.event_log.known_ids import KnownIds, id_hash

A, B, C = (id_hash(name) for name in "abc")


def test_ids_are_kept_for_the_time_that_is_set_and_then_let_go(tmp_path: Path) -> None:
    ids = KnownIds(tmp_path, kept_s=100.0)
    ids.add([A], 1, now_s=1000.0)
    ids.add([B], 2, now_s=1099.0)
    assert ids.known([A, B, C]) == {A, B}
    ids.add([C], 3, now_s=1190.0)
    assert ids.known([A, B, C]) == {B, C}
    ids.close()
    again = KnownIds(tmp_path, kept_s=100.0)
    assert again.known([A, B, C]) == {B, C}
    assert again.indexed() == 3
    again.close()


def test_a_clock_that_was_put_back_loses_nothing(tmp_path: Path) -> None:
    ids = KnownIds(tmp_path, kept_s=100.0)
    ids.add([A], 1, now_s=5000.0)
    ids.add([B], 2, now_s=10.0)
    assert ids.known([A, B]) == {A, B}
    ids.close()
