"""What training events are to be predicted, and how much each counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from retrieval.arrays import Figures, Ints
from retrieval.data import Histories
from retrieval.errors import ConfigError, DataError


class Labels:
    """Item and weight of any event: the weight of its action times that of its `sample_weight_column`."""

    def __init__(
        self, histories: Histories, action_weights: Mapping[str, float] | None = None, sample_weight_column: str = ""
    ) -> None:
        """Raises ConfigError for a column that the events don't have, or that doesn't hold numbers."""
        self._histories = histories
        given = action_weights or {}
        _known_actions(histories, given)
        self._by_action = np.array([given.get(name, 1.0) for name in histories.action_names], np.float64)
        self._column = histories.context.get(sample_weight_column)
        if sample_weight_column and (self._column is None or self._column.kind == "codes"):
            numbers = ", ".join(name for name, c in histories.context.items() if c.kind != "codes") or "none"
            raise ConfigError(
                f"training.sample_weight_column: {sample_weight_column!r} is no column of numbers among "
                f"data.context_columns (those with numbers: {numbers})"
            )

    def items(self, rows: Ints) -> Ints:
        """Catalog items of the events [n]."""
        return np.asarray(self._histories.items[rows], np.int64)

    def weights(self, rows: Ints) -> Figures:
        """Weights of the events [n]; 1 where nothing is said. Raises DataError for a negative or infinite one."""
        weights: Figures = self._by_action[self._histories.actions[rows]]
        if self._column is None:
            return weights
        column = self._column.take(rows).cast(pa.float64()).fill_null(1.0).to_numpy(zero_copy_only=False)
        wrong = ~(np.isfinite(column) & (column >= 0))
        if wrong.any():
            raise DataError(
                f"training.sample_weight_column: {self._column.name!r} holds {column[wrong][0]}; "
                "weights are finite and not negative"
            )
        weighted: Figures = weights * column
        return weighted


def target_actions(
    histories: Histories, positive_actions: Sequence[str] = (), action_weights: Mapping[str, float] | None = None
) -> tuple[str, ...]:
    """Actions of the events that are targets: among `positive_actions` (empty: all), and not of weight 0.

    Raises ConfigError where none is left, or for an action that no event has.
    """
    weights = action_weights or {}
    _known_actions(histories, weights)
    named = tuple(positive_actions) or histories.action_names
    chosen = tuple(name for name in named if weights.get(name, 1.0) > 0)
    if not chosen:
        raise ConfigError(
            f"training.action_weights: all target actions ({', '.join(named)}) weigh 0; nothing is left to predict"
        )
    return chosen


def _known_actions(histories: Histories, weights: Mapping[str, float]) -> None:
    unknown = [name for name in weights if name not in histories.action_names]
    if unknown:
        raise ConfigError(
            f"training.action_weights: {', '.join(map(repr, unknown))} not among the actions of the events: "
            f"{', '.join(histories.action_names)}"
        )
