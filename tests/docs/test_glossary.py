from __future__ import annotations

import re

from tests.docs.pages import ROOT

LINES = [
    line for line in (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines() if line.startswith("- ")
]


def test_terms_are_sorted_and_each_is_one_line() -> None:
    terms = [re.match(r"- \*\*(.+?)\*\*", line) for line in LINES]
    assert len(LINES) > 40
    assert all(terms)
    names = [term[1].lower() for term in terms if term]
    assert names == sorted(names)
    assert len(set(names)) == len(names)


def test_every_line_says_what_the_term_means() -> None:
    assert [line for line in LINES if not re.search(r"\*\*[^*]*: .+\.$", line)] == []
