"""Putting suggested settings into a retrieval.toml, keeping everything else in it, comments included.

tomlkit reads the file and changes what is set in it. What is only there as a comment (the template of `retrieval init`
holds every key so) is found line by line: tomlkit knows no key in a comment, and takes the comments between two tables
for the first one's, so that they would go with it or stand before a new key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import tomlkit

from retrieval.data.importers.suggest import Suggestion
from retrieval.toml_text import toml_text, toml_value, value_text

_TABLE = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")


def merge_settings(text: str, suggestion: Suggestion, *, features: bool = True) -> str:
    """The text of a retrieval.toml with [data], [data.split] and the features replaced by the suggested ones.

    A key that is there, live or commented out, is set in its place; features that were declared go, except without
    `features`: then they stay, and the suggested ones are left out (a recipe has its own).
    """
    if features:
        text = _without_features(text)
    for table, keys in (("data", suggestion.data), ("data.split", suggestion.split)):
        text = _set_keys(text, table, keys)
    if features and suggestion.features:
        text += "\n" + toml_text({"features": suggestion.features})
    return text


def set_missing(text: str, settings: Mapping[str, Any]) -> str:
    """The text of a retrieval.toml with `settings`, by section, except for keys that are set in it: these stay."""
    there = tomllib.loads(text)
    for table, keys in _tables(settings):
        section: Any = there
        for name in table.split("."):
            section = section.get(name, {})
        text = _set_keys(text, table, {key: value for key, value in keys.items() if key not in section})
    return text


def _tables(settings: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every table of nested settings by its dotted name, with the keys that are no tables."""
    for name, value in settings.items():
        table = f"{within}{name}"
        yield table, {key: inner for key, inner in value.items() if not isinstance(inner, Mapping)}
        yield from _tables({key: inner for key, inner in value.items() if isinstance(inner, Mapping)}, f"{table}.")


def _set_keys(text: str, table: str, keys: Mapping[str, Any]) -> str:
    if not keys:
        return text
    text, missing = _set_by_key(text, table, keys)
    lines = text.splitlines()
    for key in missing:
        lines = _insert(lines, table, f"{key} = {value_text(keys[key])}", key)
    return "\n".join(lines) + "\n"


def _set_by_key(text: str, table: str, keys: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The text with the values of keys that are set in it, however written; and the keys that are still to be put in.

    A table without a header of its own (dotted keys, an inline table) gets the new keys here, too.
    """
    document = tomlkit.parse(text)
    lines, names = text.splitlines(), table.split(".")
    section: Any = document
    for depth, name in enumerate(names):
        if isinstance(section.get(name), MutableMapping):
            section = section[name]
        elif depth and _span(lines, ".".join(names[:depth]))[0] is None:
            section[name] = toml_value(keys)
            return tomlkit.dumps(document), []
        else:
            return text, list(keys)
    headed = _span(lines, table)[0] is not None
    missing = [key for key in keys if headed and key not in section]
    for key in keys:
        if key not in missing:
            section[key] = toml_value(keys[key])
    return tomlkit.dumps(document), missing


def _without_features(text: str) -> str:
    """The text without [[features.…]] tables; comments in and behind them stay."""
    kept: list[str] = []
    dropping = False
    for line in text.splitlines():
        header = _TABLE.match(line)
        if header:
            dropping = header.group(1) == "[[" and header.group(2).startswith("features.")
        if not dropping or line.lstrip().startswith("#"):
            kept.append(line)
    while kept and not kept[-1].strip():
        kept.pop()
    return "\n".join(kept) + "\n"


def _insert(lines: list[str], table: str, line: str, key: str) -> list[str]:
    """Put the line where its key stands in a comment of the table; else behind the header; else with a new header."""
    start, end = _span(lines, table)
    if start is None:
        return [*lines, "", f"[{table}]", line]
    commented = re.compile(rf"\s*#\s*{re.escape(key)}\s*=")
    place = next((number for number in range(start, end) if commented.match(lines[number])), None)
    return [*lines[:start], line, *lines[start:]] if place is None else [*lines[:place], line, *lines[place + 1 :]]


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
