"""A connection to the registry that may break: what can't be asked now is asked later, and serving goes on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from retrieval.backoff import Backoff
from retrieval.errors import RetrievalError
from retrieval.registry import Registry

_log = logging.getLogger(__name__)
T = TypeVar("T")


RETRIES = Backoff(first_s=0.25, longest_s=5.0)
"""While the registry is away; a server that does not answer costs each attempt some seconds."""


class RegistryLink:
    """Opens the registry when it is first needed, and again after it was away. Used by one thread at a time."""

    def __init__(self, connect: Callable[[], Registry] | None, *, retries: Backoff = RETRIES) -> None:
        """`connect` opens the registry; None: there is none, and every question is answered with the fallback.

        Between `retries` it is not asked at all.
        """
        self._connect, self._retries = connect, retries
        self._failures, self._not_before = 0, 0.0
        self._registry: Registry | None = None
        self._lock = threading.Lock()
        self.error = ""

    def ask(self, question: Callable[[Registry], T], fallback: T) -> T:
        """What the registry answers, or `fallback` while it is away; `error` then says why."""
        if self._connect is None:
            return fallback
        with self._lock:
            if time.monotonic() < self._not_before:
                return fallback
            try:
                if self._registry is None:
                    self._registry = self._connect()
                answer = question(self._registry)
            except RetrievalError as error:
                if not self.error:
                    _log.warning("the registry is away, going on without it: %s", error)
                self.error = str(error)
                self._failures += 1
                self._not_before = time.monotonic() + self._retries.wait_s(self._failures)
                return fallback
            if self.error:
                _log.info("the registry is back")
            self.error, self._failures = "", 0
            return answer

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            if self._registry is not None:
                self._registry.close()
                self._registry = None
