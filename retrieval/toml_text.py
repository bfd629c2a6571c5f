"""Settings as TOML text, written by tomlkit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.items import Item


def toml_text(data: Mapping[str, Any]) -> str:
    """Nested tables, arrays of tables, and values (text, numbers, booleans, lists); None is left out."""
    return tomlkit.dumps(_without_none(data)).strip() + "\n"


def value_text(value: Any) -> str:
    """One value as it stands behind `key =`; a mapping becomes an inline table."""
    return toml_value(value).as_string()


def toml_value(value: Any) -> Item:
    """One value for a tomlkit document; a mapping becomes an inline table."""
    if isinstance(value, Mapping):
        table = tomlkit.inline_table()
        for key, inner in value.items():
            table.append(key, toml_value(inner))
        return table
    if isinstance(value, (list, tuple)):
        array = tomlkit.array()
        for one in value:
            array.append(toml_value(one))
        return array
    made: Item = tomlkit.item(value)
    return made


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return [_without_none(one) for one in value] if isinstance(value, (list, tuple)) else value
