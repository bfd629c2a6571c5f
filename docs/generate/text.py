"""Pieces of Markdown that the reference pages are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_CODE = re.compile(r"(`[^`]*`)")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; line breaks and bars outside code are made harmless."""
    lines = [_row(head), _row(["---"] * len(head))]
    return [*lines, *(_row([_cell(text) for text in row]) for row in rows)]


def code(text: str) -> str:
    """`text` as inline code, also where it holds backquotes; nothing stays nothing."""
    if not text:
        return ""
    fence = "``" if "`" in text else "`"
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"


def sentence(text: str) -> str:
    """`text` with a full stop, and with its first letter capital where it begins with a word, not with a value."""
    text = " ".join(text.split())
    if not text:
        return ""
    first = text.partition(" ")[0]
    start = text[0].upper() + text[1:] if first.rstrip(",").isalpha() and first.islower() else text
    return start + ("" if text[-1] in ".!?…" else ".")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    parts = _CODE.split(" ".join(text.split()))
    return "".join(part if part.startswith("`") else part.replace("|", "\\|") for part in parts)
