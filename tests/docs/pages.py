"""The pages under docs/ and README.md as the tests read them: their code blocks, and what stands in backquotes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
HOW_TO = sorted([ROOT / "README.md", ROOT / "docs" / "get-started.md", *(ROOT / "docs" / "how-to").glob("*.md")])

_SKIP = re.compile(r"<!-- not run: (.+) -->")
_TITLE = re.compile(r'title="(.+)"')
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    `skip` is the reason that a comment above it gives for not running it; `title` the file that it is, if it is one.
    """

    page: Path
    line: int
    language: str
    text: str
    skip: str = ""
    title: str = ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, language: str = "") -> list[Block]:
    """The page's blocks in that language, or all of them."""
    return [block for block in _blocks(page) if language in ("", block.language)]


def inline_code(page: Path) -> Iterator[str]:
    """What stands in backquotes in the page's text."""
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            yield from _INLINE.findall(line)


def _blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    start, before = None, ""
    for number, line in enumerate(lines, start=1):
        if start is None and line.startswith("```"):
            start = number
            skip = _SKIP.fullmatch(before)
        elif start is not None and line == "```":
            language, _, rest = lines[start - 1].removeprefix("```").partition(" ")
            title = _TITLE.fullmatch(rest)
            text = "\n".join(lines[start : number - 1]) + "\n"
            yield Block(page, start, language, text, skip[1] if skip else "", title[1] if title else "")
            start = None
        before = line
    assert start is None, f"{page}:{start}: a block without an end"
