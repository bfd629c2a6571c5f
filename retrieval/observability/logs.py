"""Logs of the services: one line an event, to stderr, readable by people and by `key=value` parsers."""

from __future__ import annotations

import logging
import sys
import time


class _Formatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime


def set_up_logs(level: str = "INFO") -> None:
    """Send the package's log lines to stderr. Call once, when a service starts."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    root = logging.getLogger("retrieval")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False
