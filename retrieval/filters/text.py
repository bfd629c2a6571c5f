"""Filters as a person types them: FIELD=A,B | FIELD=LOW..HIGH | FIELD!=…, all of which must hold."""

from __future__ import annotations

from collections.abc import Sequence

from retrieval.errors import ConfigError
from retrieval.filters.filter import AllOf, AnyOf, Filter, NoneOf, Range


def parse_filters(given: Sequence[str], *, where: str = "--filter") -> Filter | None:
    """The filter that the texts stand for together; None for none. Raises ConfigError that begins with `where`."""
    parts = tuple(_condition(where, *split_pair(where, text)) for text in given)
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else AllOf(parts)


def split_pair(where: str, text: str) -> tuple[str, str]:
    """Name and value of NAME=VALUE. Raises ConfigError that begins with `where`."""
    name, separator, value = text.partition("=")
    if not separator or name in {"", "!"} or not value:
        raise ConfigError(f"{where} {text!r}: expected COLUMN=VALUE")
    return name, value


def _condition(where: str, field: str, text: str) -> Filter:
    """One condition; a field that ends with ! stands before a negation, FIELD!=…."""
    if field.endswith("!"):
        return NoneOf((_condition(where, field.removesuffix("!"), text),))
    low, dots, high = text.partition("..")
    if dots:
        return Range(field, _end(where, field, low), _end(where, field, high))
    return AnyOf(field, tuple(text.split(",")))


def _end(where: str, field: str, text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        expected = "LOW..HIGH, LOW.. or ..HIGH"
        raise ConfigError(f"{where} {field}: {text!r} is not a number; expected {expected}") from None
