"""The strategies page: what each choice among strategies may be, from the lists that name them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from generate.text import code, sentence, table

HEAD = """\
# Strategies

A choice among strategies is a setting that takes one of the names below, or the import path of one of your own,
`"package.module:Name"`. [Extend](../how-to/extending.md) says how to write one.
"""


def strategies_page(lists: Mapping[str, Any], described: Sequence[Any]) -> str:
    """The page for lists of strategies by their titles, and the descriptions of what they list."""
    lines = [HEAD]
    for title, strategies in lists.items():
        lines += _list(title, strategies, [one for one in described if one.lists == title])
    return "\n".join(lines) + "\n"


def _list(title: str, strategies: Any, described: Sequence[Any]) -> Iterator[str]:
    yield f"## {title} {{ #{strategies.setting.replace('.', '-').replace('*-', '')} }}"
    yield ""
    yield f"`{strategies.setting}`. One of your own must be {strategies.expects}."
    yield ""
    rows = [
        [
            code(one.name),
            sentence(one.summary),
            sentence(one.docstring),
            ", ".join(map(code, one.settings)),
            code(one.where),
        ]
        for one in described
    ]
    yield from table(["name", "in short", "what it is", "its own settings", "where"], rows)
    yield ""
