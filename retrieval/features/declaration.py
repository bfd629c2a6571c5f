"""What every declared feature has, whatever its kind; each kind's own fields stand in its file, in `kinds/`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from retrieval.config import Section
from retrieval.features.kinds import KINDS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from retrieval.data.facts.activity import Activity
    from retrieval.features.columns import Column
    from retrieval.features.kinds.transform import State, Transform
    from retrieval.features.spec import HistorySpec

Side = Literal["user", "item", "context"]
SIDES: tuple[Side, ...] = ("user", "item", "context")
TimeUnit = Literal["s", "ms", "us", "ns"]
Examples = tuple[tuple[Side, Mapping[str, Any]], ...]


class Declaration(Section):
    """A feature as it is declared. A kind adds its own fields, and says how they become a `Transform`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="Name of the feature; unique on its side")
    column: str | None = Field(None, min_length=1, description="Column it is read from; the name where not given")
    dim: int | None = Field(
        None, ge=1, le=4096, description="Width of its embedding; the towers choose where not given"
    )
    kind: Annotated[str, KINDS]

    time_varying: ClassVar[bool] = False
    """Whether the value of the same item or user changes with time: of an item it is then encoded anew as of each
    example's and each index's moment, of a user as of each example's and each request's. `encode` is told the time only
    of such features and of the context's. Where it isn't `stored`, it is read from the log: see `as_of`."""
    examples: ClassVar[Examples] = ()
    """What a new workspace's settings show: a side, and what is declared beside the kind."""

    @property
    def source(self) -> str | None:
        """The raw column that it is read from; None for a feature that reads only the request's time."""
        return self.column or self.name

    @property
    def stored(self) -> bool:
        """Whether that column is among those of users, items or events, so that it can be learned from."""
        return True

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the tower inputs that it becomes."""
        return (self.name,)

    def check(self, side: Side, history: HistorySpec) -> None:
        """Raises ValueError where it can't be declared on this side, or beside this history."""

    def as_of(self, activity: Activity, items: npt.NDArray[np.int64], at_us: int) -> pa.Array:
        """Values read from the log for catalog rows int64 [n], from what happened before `at_us` (µs)."""
        raise NotImplementedError(f"{self.kind} is not read from the log")

    @abstractmethod
    def fit(self, columns: Iterator[Column]) -> Transform:
        """Learn from the training rows, given in blocks; none where the feature is not `stored`."""

    @abstractmethod
    def restore(self, state: State) -> Transform:
        """Make the transform that `state` was taken from. Raises KeyError, TypeError or ValueError on a wrong state."""
