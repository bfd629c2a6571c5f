"""Embeddings of the towers in training, straight from a dataset: for validation, before anything is exported.

n event rows, N catalog items, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from retrieval.arrays import Ints, Vectors
from retrieval.data import Dataset
from retrieval.features import Features
from retrieval.features.logged import LoggedHistories
from retrieval.towers.chunks import with_chunks
from retrieval.towers.offline import ItemInputs, SideInputs
from retrieval.towers.pair import TowerPair

_AT_ONCE = 256
_ITEMS_AT_ONCE = 1 << 14


class PairVectors:
    """Vectors of a pair of towers; the pair changes from call to call, the inputs don't."""

    def __init__(self, dataset: Dataset, features: Features, items: ItemInputs) -> None:
        self._histories = dataset.histories
        self._logged = LoggedHistories(dataset.histories, features)
        self._sides = SideInputs(dataset, features)
        self._items = items
        self._length = features.spec.history.length

    @property
    def items_vary(self) -> bool:
        """Whether items' embeddings depend on the moment that they are seen at."""
        return self._items.time_varying is not None

    def items_at_any_time(self, pair: TowerPair) -> Vectors | Callable[[int], Vectors]:
        """`items` as a function of the moment (µs), where that makes a difference; else the vectors themselves."""
        return (lambda at_us: self.items(pair, at_us)) if self.items_vary else self.items(pair)

    def items(self, pair: TowerPair, at_us: int | None = None) -> Vectors:
        """Embeddings of the whole catalog, float32 [N, D]; time-varying features are seen as of `at_us`, if given."""
        device = pair.special.device
        count = len(next(iter(self._items.by_item.values())))
        parts = []
        with torch.no_grad():
            for rows in torch.split(torch.arange(count), _ITEMS_AT_ONCE):
                encoded = self._items.items(rows, at_us)
                directions = pair.item({name: values.to(device) for name, values in encoded.items()}).float().cpu()
                lengths = pair.item.lengths({name: values.numpy() for name, values in encoded.items()})
                parts.append(directions.numpy() * lengths[:, None])
        return np.concatenate(parts)

    def users(self, pair: TowerPair, rows: Ints) -> Vectors:
        """Embeddings float32 [n, D] of the users of some event rows, each as of its event; of E interests [n, E, D]."""
        E = pair.config.interests
        vectors = np.empty((len(rows), pair.dim) if E == 1 else (len(rows), E, pair.dim), np.float32)
        before = rows - self._histories.first_rows_of(rows)
        order = np.argsort(before, kind="stable")  # histories of about one length together: little padding
        with torch.no_grad():
            table = self._token_table(pair)
            for start in range(0, len(order), _AT_ONCE):
                chosen = order[start : start + _AT_ONCE]
                vectors[chosen] = self._embed(pair, table, rows[chosen])
        return vectors

    def _token_table(self, pair: TowerPair) -> torch.Tensor:
        codes = torch.arange(self._items.tokens)
        encoded = {name: values.to(pair.special.device) for name, values in self._items.codes(codes).items()}
        return pair.token_table(encoded)

    def _embed(self, pair: TowerPair, table: torch.Tensor, rows: Ints) -> Vectors:
        users = self._histories.users_of(rows)
        start = self._histories.newest_before(rows, self._length, users)
        history = self._logged.read(users, start, rows)
        tensor = partial(_tensor, device=table.device)
        tokens = pair.user.tokens(table, *(tensor(part) for part in (history.items, history.actions, history.gaps)))
        if history.chunks is not None:
            tokens = with_chunks(pair.user, tokens, table, tensor(history.chunks.items), history.chunks)
        previous = np.where(rows > start, rows - 1, -1)
        side = self._sides.read(users, np.arange(len(rows)), rows, previous)
        moved = {name: values.to(table.device) for name, values in side.items()}
        vectors = pair.user(
            tokens, *(tensor(part) for part in (history.lengths, history.times, history.query_times)), moved
        )
        return np.asarray(vectors.float().cpu().numpy())


def _tensor(values: Ints, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(values).to(device)
