"""A line to the registry that may break: what can't be asked now is asked again later, and serving goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from retrieval.errors import RetrievalError
from retrieval.registry import Registry

_log = logging.getLogger(__name__)
T = TypeVar("T")


class RegistryLink:
    """Opens the registry when it is first needed, and again after it was away. Used by one thread at a time."""

    def __init__(self, connect: Callable[[], Registry] | None) -> None:
        """`connect` opens the registry; None: there is none, and every question is answered with the fallback."""
        self._connect = connect
        self._registry: Registry | None = None
        self._lock = threading.Lock()
        self.error = ""

    def ask(self, question: Callable[[Registry], T], fallback: T) -> T:
        """What the registry answers, or `fallback` while it is away; `error` then says why."""
        if self._connect is None:
            return fallback
        with self._lock:
            try:
                if self._registry is None:
                    self._registry = self._connect()
                answer = question(self._registry)
            except RetrievalError as error:
                if not self.error:
                    _log.warning("the registry is away, going on without it: %s", error)
                self.error = str(error)
                return fallback
            if self.error:
                _log.info("the registry is back")
            self.error = ""
            return answer

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            if self._registry is not None:
                self._registry.close()
                self._registry = None
