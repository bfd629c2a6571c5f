"""What the candidate service knows of its ANN hosts: fresh from every answer and refusal, and asked for in between."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from retrieval.errors import DeadlineError, RetrievalError, UnavailableError
from retrieval.serving.core.metadata import HostMetadata, ServedBuild
from retrieval.serving.core.planning import Options, Space, options

_log = logging.getLogger(__name__)
_RETRY_LOST_S = 0.2


@dataclass(frozen=True, slots=True)
class HostView:
    """One host, as it was seen last. `heard` is on the monotonic clock, `seen_at` in µs since 1970."""

    address: str
    metadata: HostMetadata | None = None
    error: str = "not asked yet"
    heard: float = 0.0
    asked: float = 0.0
    seen_at: int = 0

    @property
    def reachable(self) -> bool:
        """Whether the last call to it was answered."""
        return not self.error


class Fleet:
    """The hosts that are known. Thread-safe; `wait_for_change` blocks until something is learned."""

    def __init__(self, usable: Callable[[Space], bool]) -> None:
        """`usable` says whether a user tower for a space is ready."""
        self._usable = usable
        self._views: dict[str, HostView] = {}
        self._changed = threading.Condition()
        self._epoch = 0
        self._options: Options | None = None

    def views(self) -> list[HostView]:
        """Every known host, by address."""
        return [view for _, view in sorted(self._views.copy().items())]

    def add(self, addresses: Iterable[str]) -> None:
        """Know these hosts, to be asked what they serve."""
        for address in addresses:
            if address not in self._views:
                _log.info("found ANN host %s", address)
                self._put(HostView(address))

    def remove(self, address: str) -> None:
        """Know a host no more."""
        with self._changed:
            self._views.pop(address, None)
            self._forget_options()

    def heard(self, address: str, metadata: HostMetadata) -> None:
        """A host said, in an answer or a refusal, what it serves."""
        view = self._views.get(address)
        if view is None:
            return
        now = time.monotonic()
        self._put(HostView(address, metadata, "", now, now, time.time_ns() // 1000))
        if view.metadata != metadata:
            active = metadata.active
            _log.info("host %s (%s) serves %s", address, metadata.host_id, active.build if active else "nothing yet")

    def lost(self, address: str, error: str) -> None:
        """A host could not be reached."""
        view = self._views.get(address)
        if view is None:
            return
        if view.reachable:
            _log.warning("lost host %s: %s", address, error)
        self._put(replace(view, error=error or "unknown", asked=time.monotonic()))

    def due(self, ttl_s: float) -> list[str]:
        """Hosts that should be asked now: not heard for `ttl_s`, or lost a moment ago."""
        now = time.monotonic()
        found = []
        for view in self._views.copy().values():
            wait = ttl_s if view.reachable else min(_RETRY_LOST_S, ttl_s)
            if now - (view.heard if view.reachable else view.asked) >= wait:
                found.append(view.address)
        return found

    def live_builds(self) -> dict[str, ServedBuild]:
        """Active builds of the hosts that can be reached, by address."""
        return {
            view.address: view.metadata.active
            for view in self._views.copy().values()
            if view.reachable and view.metadata is not None and view.metadata.active is not None
        }

    def needed_spaces(self) -> list[Space]:
        """The spaces of all builds that hosts serve, then of those that stand by: what user towers are needed for.

        A host that can't be reached counts with what it said last: it may be back at any moment.
        """
        known = [view.metadata for view in self._views.copy().values() if view.metadata is not None]
        builds = [m.active for m in known] + [m.standby for m in known]
        return list(dict.fromkeys((b.version, b.space_id) for b in builds if b is not None))

    def options(self) -> Options:
        """How a request can be answered now."""
        found = self._options
        if found is None:
            with self._changed:
                found = self._options = options(self.live_builds(), self._usable)
        return found

    def towers_changed(self) -> None:
        """A user tower became ready or was let go."""
        with self._changed:
            self._forget_options()

    @property
    def epoch(self) -> int:
        """Counts changes."""
        return self._epoch

    def wait_for_change(self, epoch: int, timeout_s: float) -> None:
        """Block until something changed since `epoch`, at most `timeout_s` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._epoch != epoch, max(0.0, timeout_s))

    def _put(self, view: HostView) -> None:
        with self._changed:
            before = self._views.get(view.address)
            self._views[view.address] = view
            if before is None or before.reachable != view.reachable or before.metadata != view.metadata:
                self._forget_options()

    def _forget_options(self) -> None:
        self._options = None
        self._epoch += 1
        self._changed.notify_all()


def refresh(fleet: Fleet, address: str, metadata: Callable[[str], HostMetadata]) -> None:
    """Ask one host what it serves and note the outcome."""
    try:
        fleet.heard(address, metadata(address))
    except (UnavailableError, DeadlineError) as error:
        fleet.lost(address, str(error))
    except RetrievalError as error:
        fleet.lost(address, f"not an ANN host of ours: {error}")
