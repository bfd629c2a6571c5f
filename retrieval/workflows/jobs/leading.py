"""Being the leader: a lease that is renewed in the background until it is let go, or lost to another process."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from types import TracebackType

from retrieval.errors import ConflictError, UnavailableError
from retrieval.registry import LeaseRow, Registry

_log = logging.getLogger(__name__)
_RENEWALS = 4
"""Renewals within the time of a lease: some may fail."""


def lease_name(model: str) -> str:
    """The lease of a model's schedule."""
    return f"schedule/{model}"


def holder_name() -> str:
    """A name that no other process has, or had; it begins with the machine's and this process's number."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(3)}"


class HeldLease:
    """Renews a lease while the block runs, and releases it after. `lost` once somebody else has taken it.

    A registry that is away loses nothing: the lease is renewed when it is back, unless another process was first.
    """

    def __init__(self, registry: Registry, lease: LeaseRow, for_s: float) -> None:
        self._registry, self.lease, self._for_s = registry, lease, for_s
        self._lost, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    @property
    def lost(self) -> bool:
        """Whether another process has it."""
        return self._lost.is_set()

    def __enter__(self) -> HeldLease:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        try:
            self._registry.leases.release(self.lease)
        except UnavailableError as away:
            _log.warning("the lease is left to run out: %s", away)

    def _renew(self) -> None:
        away = False
        while not self._end.wait(self._for_s / _RENEWALS):
            try:
                self._registry.leases.renew(self.lease, self._for_s)
                away = False
            except ConflictError as error:
                _log.warning("no longer the leader: %s", error)
                self._lost.set()
                return
            except UnavailableError as error:
                if not away:
                    _log.warning("the lease can't be renewed now: %s", error)
                away = True
