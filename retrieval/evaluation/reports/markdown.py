"""A page as Markdown, with links to its pictures."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from urllib.parse import quote

from retrieval.evaluation.reports.page import Block, Cell, Figure, Page, Table, Text

_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~!$])")
_BLANKS = re.compile(r"\s+")


def markdown_text(page: Page, pictures: Mapping[str, str]) -> str:
    """The page as Markdown; `pictures` has the relative path of each figure by its name. All text is escaped."""
    parts = [f"# {_escaped(page.title)}"]
    for section in page.sections:
        parts.append(f"## {_escaped(section.title)}")
        parts += [_block(block, pictures) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def _block(block: Block, pictures: Mapping[str, str]) -> str:
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Figure):
        picture = f"![{_escaped(block.alt)}]({quote(pictures[block.name])})"
        return f"{picture}\n\n{_escaped(block.caption)}" if block.caption else picture
    return _text(block)


def _text(block: Text) -> str:
    shown = _escaped(block.text)
    # a sign of a list or quote at the start of the line would make one
    shown = re.sub(r"^([-+]|\d+[.)])(?=\s|$)", r"\\\1", shown)
    return {"finding": f"> {shown}", "remark": f"*{shown}*"}.get(block.kind, shown)


def _table(table: Table) -> str:
    rules = [":---" if place < table.labels else "---:" for place in range(len(table.columns))]
    lines = [[_escaped(column) or " " for column in table.columns], rules]
    lines += [[_cell(cell) for cell in row] for row in table.rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _cell(cell: Cell) -> str:
    return _escaped(cell) if isinstance(cell, str) else "<br>".join(map(_escaped, cell))


def _escaped(text: str) -> str:
    """Neither HTML nor Markdown, on one line."""
    return _SPECIAL.sub(r"\\\1", html.escape(_BLANKS.sub(" ", text).strip(), quote=False))
