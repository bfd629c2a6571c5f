"""Putting suggested settings into a retrieval.toml, keeping everything else in it, comments included."""

from __future__ import annotations

import re

from retrieval.data.importers.suggest import Suggestion, toml_value

_TABLE = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")


def merge_settings(text: str, suggestion: Suggestion, *, features: bool = True) -> str:
    """The text of a retrieval.toml with [data], [data.split] and the features replaced by the suggested ones.

    A key that is there, live or commented out, is set in its place; features that were declared go, except without
    `features`: then they stay, and the suggested ones are left out (a recipe has its own).
    """
    lines = _without_features(text.splitlines()) if features else text.splitlines()
    for table, keys in (("data", suggestion.data), ("data.split", suggestion.split)):
        for key, value in keys.items():
            lines = _set(lines, table, key, toml_value(value))
    return "\n".join([*lines, *(suggestion.feature_lines() if features else ())]) + "\n"


def _without_features(lines: list[str]) -> list[str]:
    kept: list[str] = []
    dropping = False
    for line in lines:
        header = _TABLE.match(line)
        if header:
            dropping = header.group(1) == "[[" and header.group(2).startswith("features.")
        if not dropping or line.lstrip().startswith("#"):
            kept.append(line)
    while kept and not kept[-1].strip():
        kept.pop()
    return kept


def _set(lines: list[str], table: str, key: str, value: str) -> list[str]:
    start, end = _span(lines, table)
    if start is None:
        return [*lines, "", f"[{table}]", f"{key} = {value}"]
    pattern = re.compile(rf"\s*#?\s*{re.escape(key)}\s*=")
    found = [number for number in range(start, end) if pattern.match(lines[number])]
    live = [number for number in found if not lines[number].lstrip().startswith("#")]
    line = f"{key} = {value}"
    if not found:
        return [*lines[:start], line, *lines[start:]]
    place = (live or found)[0]
    after = place + 1
    while live and place == live[0] and after < end and not _closed(lines[place:after]):
        after += 1  # a list over several lines
    return [*lines[:place], line, *lines[after:]]


def _span(lines: list[str], table: str) -> tuple[int | None, int]:
    """Lines of a table: after its header, up to the next one."""
    start = None
    for number, line in enumerate(lines):
        header = _TABLE.match(line)
        if not header:
            continue
        if start is not None:
            return start, number
        if header.group(1) == "[" and header.group(2).replace(" ", "") == table:
            start = number + 1
    return start, len(lines)


def _closed(lines: list[str]) -> bool:
    joined = "".join(lines)
    return joined.count("[") <= joined.count("]")
