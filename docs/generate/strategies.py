"""The strategies page: what each choice among strategies may be, from the lists that name them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from generate.text import code, sentence, table

HEAD = """\
# Strategies

A choice among strategies is a setting that takes one of the names below, or the import path of one of your own,
`"package.module:Name"`. [Extend](../how-to/extending.md) says how to write one.
"""


_ASSIGNED = re.compile(r"(?m)^([A-Z_]+) = Strategies\(")


def strategies_page(package: Path) -> str:
    """The page for every list of strategies below the folder of the package `retrieval`."""
    return "\n".join([HEAD, *(line for title, found in lists(package) for line in _list(title, found))]) + "\n"


def lists(package: Path) -> Iterator[tuple[str, Any]]:
    """Every `Strategies` that a module assigns, with what the module's docstring says it lists."""
    for path in sorted(package.rglob("__init__.py")):
        for name in _ASSIGNED.findall(path.read_text(encoding="utf-8")):
            module = importlib.import_module(".".join(path.parent.relative_to(package.parent).parts))
            yield (module.__doc__ or "").partition(":")[0], getattr(module, name)


def _list(title: str, strategies: Any) -> Iterator[str]:
    yield f"## {title} {{ #{strategies.setting.replace('.', '-').replace('*-', '')} }}"
    yield ""
    yield f"`{strategies.setting}`. One of your own must be {strategies.expects}."
    yield ""
    rows = [
        [code(name), sentence(one.summary), ", ".join(map(code, one.settings.values())), code(one.where)]
        for name, one in strategies.named.items()
    ]
    yield from table(["name", "what it is", "its own settings", "where"], rows)
    yield ""
