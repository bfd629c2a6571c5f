"""One training step's forward pass: from a batch of sequences to the loss.

B windows, L longest of them, P positions, K negatives, M candidates (negatives and targets), D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from retrieval.features import ITEM_ID, Features
from retrieval.towers.offline import ItemInputs, SideInputs
from retrieval.towers.pair import TowerPair
from retrieval.training.config import TrainingConfig
from retrieval.training.losses import LOSSES
from retrieval.training.negatives import SOURCES, Candidates, all_items, mix
from retrieval.training.negatives.base import Ints
from retrieval.training.sequences import Batch


@dataclass(frozen=True)
class StepInputs:
    """What every step needs besides its batch."""

    items: ItemInputs
    sides: SideInputs
    features: Features
    counts: Ints


class Objective:
    """The loss of a batch, by the settings."""

    def __init__(self, config: TrainingConfig, inputs: StepInputs, device: torch.device) -> None:
        numbers = config.negatives.model_dump()
        self._loss = LOSSES[config.loss]
        self._everything = all_items(inputs.counts) if config.loss == "full_softmax" else None
        self._sources = [make(inputs.counts, numbers[name]) for name, make in SOURCES.items() if numbers[name]]
        self._corrected = config.negatives.correction == "counts"
        self._inputs = inputs
        self._device = device

    def candidates(self, targets: Ints, rng: np.random.Generator) -> Candidates:
        """Negatives for a batch with these target items [P]."""
        if self._everything is not None:
            return self._everything
        return mix(self._sources, targets, rng, corrected=self._corrected)

    def __call__(self, pair: TowerPair, batch: Batch, targets: Ints, rng: np.random.Generator) -> Tensor:
        """Mean loss over the P positions of a batch whose target items are `targets` [P]."""
        drawn = self.candidates(targets, rng)
        wanted = np.union1d(drawn.items, targets)
        vectors = pair.item(self._item_rows(pair, self._tensor(wanted), rng))  # [M, D]
        negatives = (
            vectors[self._tensor(np.searchsorted(wanted, drawn.items))] if len(wanted) > len(drawn.items) else vectors
        )
        users = self._users(pair, batch, rng) * torch.exp(-pair.log_temperature)  # [P, D]
        own = torch.nn.functional.embedding(self._tensor(np.searchsorted(wanted, targets)), vectors)
        return self._loss(
            users,
            negatives,
            self._tensor(drawn.bias),
            (users * own).sum(-1),
            self._tensor(drawn.position_of(targets)),
            torch.full((len(targets),), 1.0 / len(targets), device=self._device),
        )

    def _item_rows(self, pair: TowerPair, rows: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
        encoded = self._inputs.items.items(rows)
        share = pair.config.id_dropout
        if pair.item.has_features and share:
            buckets = self._inputs.features.item_vocabulary.oov_buckets
            hidden = self._tensor(rng.random(len(rows)) < share)
            unknown = self._tensor(rng.integers(1, buckets + 1, len(rows)))
            encoded[ITEM_ID] = torch.where(hidden, unknown, encoded[ITEM_ID])
        return encoded

    def _users(self, pair: TowerPair, batch: Batch, rng: np.random.Generator) -> Tensor:
        table, items = self._token_table(pair, batch.items)
        tokens = pair.user.tokens(table, items, self._tensor(batch.actions), self._tensor(batch.gaps))
        states = pair.user.states(tokens, self._tensor(batch.times), self._tensor(batch.asked))  # [B, L, D]
        L = states.shape[1]
        at = self._tensor(batch.position_row * L + batch.position_column)
        states = torch.nn.functional.embedding(at, states.reshape(-1, states.shape[-1]))  # [P, D]
        return pair.user.embed(states, self._side(pair, batch, rng))

    def _token_table(self, pair: TowerPair, codes: Ints) -> tuple[Tensor, Tensor]:
        """Tokens of the codes that occur (of all, where the vocabulary is small), and the codes as rows of it."""
        known = pair.item.codes
        if known <= codes.size:
            every = torch.arange(known, device=self._device)
            return pair.token_table(self._inputs.items.codes(every)), self._tensor(codes)
        used = np.unique(codes[codes < known])
        rows = np.where(codes < known, np.searchsorted(used, codes), codes - known + len(used))
        return pair.token_table(self._inputs.items.codes(self._tensor(used))), self._tensor(rows)

    def _side(self, pair: TowerPair, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        side = self._inputs.sides.read(batch.users, batch.position_row, batch.target, batch.previous)
        side = {name: values.to(self._device) for name, values in side.items()}
        if side and pair.config.profile_dropout:
            hidden = rng.random(len(batch.users)) < pair.config.profile_dropout
            side = self._inputs.sides.hide_profiles(side, self._tensor(hidden[batch.position_row]))
        return side

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)
