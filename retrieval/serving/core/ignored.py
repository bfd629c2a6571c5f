"""Columns of a request that have no effect on its answer: found, named, and refused where that is wanted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from retrieval.errors import RequestError
from retrieval.serving.core.answer import IgnoredColumn
from retrieval.serving.core.held_towers import Tower


def ignored_columns(tower: Tower, context: Mapping[str, Any], profile: Mapping[str, Any]) -> tuple[IgnoredColumn, ...]:
    """What of a request's own `context` and `profile` a tower can't use: columns that no feature reads, and NaN."""
    return (
        *_ignored("context", context, tower.context_columns),
        *_ignored("profile", profile, tower.profile_columns),
    )


def refuse(tower: Tower, ignored: Collection[IgnoredColumn]) -> None:
    """Raise RequestError that names what is ignored, and what is known, where anything is."""
    if ignored:
        raise RequestError(
            f"{', '.join(map(str, ignored))}: ignored, which serving.strict_inputs forbids. The features of "
            f"{tower.version} read {_listed('context', tower.context_columns)} and "
            f"{_listed('profile', tower.profile_columns)}; leave out a number that is not known"
        )


def _ignored(side: str, values: Mapping[str, Any], known: Collection[str]) -> list[IgnoredColumn]:
    found = []
    for name, value in values.items():
        if name not in known:
            found.append(IgnoredColumn(f"{side}.{name}", "unknown"))
        elif isinstance(value, float) and value != value:  # noqa: PLR0124 - NaN is not itself
            found.append(IgnoredColumn(f"{side}.{name}", "nan"))
    return found


def _listed(side: str, names: Collection[str]) -> str:
    return ", ".join(f"{side}.{name}" for name in sorted(names)) or f"no {side} column"
