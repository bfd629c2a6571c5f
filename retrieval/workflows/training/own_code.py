"""Strategies of one's own, which settings name by import path: found, and their source hashed, before all else.

What they are is part of a version's inputs (rule 10): the manifest records the path and the hash of its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from retrieval.strategies import own_choices, source_hash
from retrieval.workflows.workspace import Settings

_SECTIONS = ("features", "towers", "training")
"""What decides a version."""


class OwnCode(TypedDict):
    """One strategy by import path, and the SHA-256 of the package that it leads into."""

    path: str
    sha256: str


def check_own_code(settings: Settings) -> None:
    """Import what training and evaluation are told by import path. Raises ConfigError for what isn't there."""
    for section in (*_SECTIONS, "evaluation"):
        for _, strategies, path in own_choices(getattr(settings, section), section):
            strategies.load(path)


def own_code(settings: Settings) -> Mapping[str, OwnCode]:
    """By setting, the strategies that a training with these settings imports from elsewhere; empty without any.

    Raises ConfigError where one can't be imported.
    """
    found: dict[str, OwnCode] = {}
    for section in _SECTIONS:
        for key, strategies, path in own_choices(getattr(settings, section), section):
            strategies.load(path)
            found[key] = {"path": path, "sha256": source_hash(path)}
    return found
