"""What the bench asks of an engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tests.bench.ann.data import Floats

Effort = int | tuple[int, int]
"""How hard a search tries: what HNSW calls ef, or the two numbers of an engine that has two."""
BUILD_THREADS = 2


@dataclass(frozen=True)
class Engine(ABC):
    """An engine with its build settings. It holds no index: what `build` and `open` return is handed to the others.

    Libraries are imported where they are used, so that an engine that is not installed can be listed.
    """

    name: ClassVar[str]
    module: ClassVar[str]
    """What is imported to use it."""
    package: ClassVar[str]
    """What is installed to have it."""
    filters: ClassVar[bool] = False

    @property
    @abstractmethod
    def settings(self) -> str:
        """The build settings, as rows show them."""

    @property
    def installed(self) -> bool:
        return find_spec(self.module) is not None

    @abstractmethod
    def build(self, vectors: Floats) -> Any:
        """An index of float32 [N, D], L2-normalised, with BUILD_THREADS threads; position is id."""

    @abstractmethod
    def save(self, index: Any, folder: Path) -> None: ...

    @abstractmethod
    def open(self, folder: Path) -> Any:
        """The saved index, ready to be searched by one thread."""

    def efforts(self, k: int, count: int) -> Sequence[Effort]:
        """What is swept among `count` vectors, from the fastest to the most thorough."""
        return doubling(k, 64 * k if k < 50 else 32 * k)

    @abstractmethod
    def search(self, index: Any, queries: Floats, k: int, effort: Any) -> NDArray[Any]:
        """Ids [Q, k] of the nearest by inner product to float32 [Q, D]; -1 for what was not found."""

    def filter_efforts(self, k: int, count: int) -> Sequence[Effort]:
        """What is swept when there is a filter."""
        return [k, 2 * k, 4 * k, 8 * k, 16 * k]

    def selector(self, index: Any, allowed: NDArray[np.bool_]) -> Any:
        """bool [N] as `search_filtered` wants it; making it isn't counted."""
        raise NotImplementedError

    def search_filtered(self, index: Any, queries: Floats, k: int, effort: Any, selector: Any) -> NDArray[Any]:
        """`search` among those that the selector allows."""
        raise NotImplementedError


def doubling(first: int, last: int) -> list[int]:
    """Numbers from `first` to `last`, every second one twice the one before last."""
    every = (round(first * 2 ** (i / 2)) for i in range(64))
    return list(takewhile(lambda effort: effort <= last, every))
