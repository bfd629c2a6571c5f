"""A page as plain data: sections of text, tables and figures, for any renderer. All text is plain and unescaped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Cell = str | tuple[str, ...]
"""Text, or several lines of it."""


@dataclass(frozen=True)
class Text:
    """A paragraph: a plain one, a finding that the reader came for, or a remark on how far to trust it."""

    text: str
    kind: Literal["plain", "finding", "remark"] = "plain"


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first `labels` columns are text, those after them figures."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    labels: int = 1


@dataclass(frozen=True)
class Figure:
    """A picture (PNG), a name for its file, and the words for those who can't see it."""

    name: str
    png: bytes
    alt: str
    caption: str = ""


Block = Text | Table | Figure


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """The whole."""

    title: str
    sections: tuple[Section, ...]
