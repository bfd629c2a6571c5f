"""An answer as Python callers get it, from a retriever in this process or from a service alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from retrieval.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from retrieval.filters.values import ValueColumn


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidates for one user, best first: n item ids, and their scores float32 [n]."""

    user_id: str
    item_ids: tuple[str, ...]
    scores: npt.NDArray[np.float32] = field(repr=False)
    """Cosine of user and item, -1 to 1. Scores of different model versions can't be compared."""
    versions: tuple[str, ...]
    """Model versions that made the answer (`shop@2`): one, unless shards serve different ones at the moment."""
    builds: tuple[str, ...]
    """Index builds that were searched (`shop-b3`)."""
    version_of_item: tuple[str, ...] = field(default=(), repr=False)
    """The model version that scored each item; empty where there is one."""
    merged_by_rank: bool = field(default=False, repr=False)
    """Shards of different versions were merged by rank, for their scores can't be compared."""
    shards_asked: int = field(default=1, repr=False)
    shards_answered: int = field(default=1, repr=False)
    user_known: bool = True
    """There was a history to go by, stored or sent along."""
    truncated: bool = field(default=False, repr=False)
    """A budget ended the search early: better candidates may not have been looked at."""
    ignored: tuple[str, ...] = field(default=(), repr=False)
    """Columns that were sent, and that no feature could use: `context.page`, or `profile.age (NaN)`."""
    new_items: int = field(default=0, repr=False)
    """Of the places that `serving.exploration` gives to items that training never met, how many hold one."""
    attributes: Mapping[str, ValueColumn] = field(default_factory=dict, repr=False)
    """The attributes that were asked for, by name, as far as the index holds them."""
    timings: Mapping[str, int] = field(default_factory=dict, repr=False)
    """Where the time went, in µs: user, tower, search, host_search, merge; of a service also total and queue."""
    item_columns: Callable[[Sequence[str]], pa.Table] | None = field(default=None, repr=False)
    """What is known of items, a row an id; None where the items table is not at hand, as in a client."""

    def __len__(self) -> int:
        return len(self.item_ids)

    def __iter__(self) -> Iterator[tuple[str, float]]:
        """Item ids with their scores."""
        return zip(self.item_ids, self.scores.tolist(), strict=True)

    def to_arrow(self) -> pa.Table:
        """A row a candidate: `item_id`, `score`, the attributes that were asked for, and the columns of the items table
        where that is at hand.
        """
        import pyarrow as pa

        columns: dict[str, Any] = {"item_id": pa.array(self.item_ids, pa.string()), "score": pa.array(self.scores)}
        columns |= {name: column.to_arrow() for name, column in self.attributes.items()}
        if self.item_columns is not None:
            known = self.item_columns(self.item_ids)
            columns |= {name: known.column(name) for name in known.column_names if name not in columns}
        return pa.table(columns)

    def to_pandas(self) -> pd.DataFrame:
        """The same as a pandas data frame. Raises ConfigError where pandas is not installed."""
        try:
            import pandas  # noqa: F401, ICN001 - pyarrow needs it, and says so less clearly
        except ImportError:
            raise ConfigError("to_pandas: pandas is not installed; `pip install pandas`, or use to_arrow()") from None
        return self.to_arrow().to_pandas()

    def to_polars(self) -> pl.DataFrame:
        """The same as a polars data frame. Raises ConfigError where polars is not installed."""
        try:
            import polars as pl
        except ImportError:
            raise ConfigError("to_polars: polars is not installed; `pip install polars`, or use to_arrow()") from None
        frame = pl.from_arrow(self.to_arrow())
        assert isinstance(frame, pl.DataFrame)
        return frame
