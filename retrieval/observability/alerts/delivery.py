"""How one attempt to deliver an alert may fail. Neither message names a URL, an argument or an answer's text."""

from __future__ import annotations


class TryAgainError(Exception):
    """It may work another time."""


class HopelessError(Exception):
    """It will fail every time."""
