"""What an evaluation says of targets that can't be reached."""

from __future__ import annotations

from retrieval.evaluation.report import unreachable_note


def test_it_says_why_and_what_to_do() -> None:
    note = unreachable_note(1311, 1300)
    assert note is not None
    assert note.startswith("1,311 targets can't be reached: 1,300 because the user had engaged with the item before")
    assert "set corpus.allow_seen = true" in note
    assert "11 because the item is not in the index then (see corpus.items)" in note


def test_it_names_only_the_reasons_there_are() -> None:
    assert unreachable_note(0, 0) is None
    assert "no candidate" not in str(unreachable_note(5, 5))
    assert "allow_seen" not in str(unreachable_note(5, 0))
