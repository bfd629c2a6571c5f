"""The user towers that are held: the latest few, and every one that a host may ask for (DESIGN rules 5 and 7)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from retrieval.backoff import Backoff
from retrieval.errors import RetrievalError
from retrieval.serving.core.planning import Space
from retrieval.towers.user_input import UserInput
from retrieval.types import ModelVersion, SpaceId

_log = logging.getLogger(__name__)
_LOOK_S = 1.0
_RETRIES = Backoff(first_s=1.0, longest_s=60.0)


class Tower(Protocol):
    """What is needed of a user tower; the columns are those that its features read of a request."""

    version: ModelVersion
    space_id: SpaceId
    context_columns: frozenset[str]
    profile_columns: frozenset[str]

    def embed(self, inputs: Sequence[UserInput]) -> npt.NDArray[np.float32]:
        """Unit vectors float32 [n, D], of several interests [n, E, D]."""


@dataclass(frozen=True, slots=True)
class HeldTower:
    """A tower that is held, or why it isn't loaded. `loaded_at` in µs since 1970."""

    version: ModelVersion
    tower: Tower | None
    loaded_at: int = 0
    error: str = ""
    retry_at: float = 0.0
    failures: int = 0


class HeldTowers:
    """Loads wanted towers in a background thread. `get` never blocks. Thread-safe."""

    def __init__(self, load: Callable[[ModelVersion], Tower], *, latest: int) -> None:
        """`latest`: so many of the latest versions stay loaded, whether a host needs them or not."""
        self._load, self._latest_held = load, latest
        self._held: dict[ModelVersion, HeldTower] = {}
        self._needed: list[Space] = []
        self._latest: list[ModelVersion] = []
        self._wake = threading.Event()
        self._stopping = False
        self._on_change: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="towers", daemon=True)

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin to load; `on_change` is called whenever a tower becomes ready or is let go."""
        self._on_change = on_change
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def want(self, needed: Sequence[Space], latest: Sequence[ModelVersion]) -> None:
        """Say which spaces hosts need, the most urgent first, and which versions are the latest, newest first."""
        if list(needed) == self._needed and list(latest) == self._latest:
            return
        self._needed, self._latest = list(needed), list(latest)
        self._wake.set()

    def get(self, space: Space) -> Tower | None:
        """The tower of a version, if it is ready and of that very space."""
        held = self._held.get(space[0])
        if held is None or held.tower is None or held.tower.space_id != space[1]:
            return None
        return held.tower

    def ready(self, space: Space) -> bool:
        """Whether `get` would give a tower."""
        return self.get(space) is not None

    def held(self) -> list[HeldTower]:
        """Every tower that is loaded, or could not be, by version."""
        return [held for _, held in sorted(self._held.copy().items())]

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(_LOOK_S)
            self._wake.clear()
            while not self._stopping and (version := self._next()) is not None:
                self._fetch(version)
            self._let_go()

    def _wanted(self) -> list[ModelVersion]:
        return list(dict.fromkeys([version for version, _ in self._needed] + self._latest[: self._latest_held]))

    def _next(self) -> ModelVersion | None:
        now = time.monotonic()
        for version in self._wanted():
            held = self._held.get(version)
            if held is None or (held.tower is None and held.retry_at <= now):
                return version
        return None

    def _fetch(self, version: ModelVersion) -> None:
        failures = self._held[version].failures if version in self._held else 0
        try:
            tower = self._load(version)
        except RetrievalError as error:
            self._failed(version, failures + 1, str(error))
        except Exception as error:  # noqa: BLE001 - loading goes on
            _log.exception("user tower %s failed in a way that was not foreseen", version)
            self._failed(version, failures + 1, f"{type(error).__name__}: {error}")
        else:
            self._held[version] = HeldTower(version, tower, time.time_ns() // 1000)
            _log.info("user tower %s is ready (space %s)", version, tower.space_id[:12])
            self._on_change()

    def _failed(self, version: ModelVersion, failures: int, error: str) -> None:
        wait = _RETRIES.wait_s(failures)
        self._held[version] = HeldTower(version, None, 0, error, time.monotonic() + wait, failures)
        _log.warning("user tower %s can't be loaded, again in %.0f s: %s", version, wait, error)

    def _let_go(self) -> None:
        """Drop what no host needs and is not among the latest; never one that is needed, however many those are."""
        ready = sorted((version for version, held in self._held.items() if held.tower is not None), reverse=True)
        stay = set(self._wanted()) | set(ready[: self._latest_held])
        for version in [version for version in self._held if version not in stay]:
            del self._held[version]
            _log.info("user tower %s is let go", version)
            self._on_change()
