"""One training step's forward pass: from a batch of sequences to the loss.

B windows, L longest of them, P positions, K negatives, M candidates (negatives and targets), D width, E interests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from retrieval.arrays import Figures, Ints
from retrieval.errors import ArtifactError
from retrieval.features import ITEM_ID, Features, HistoryTokens
from retrieval.towers.chunks import with_chunks
from retrieval.towers.dropout import rows_of_batch
from retrieval.towers.offline import ItemInputs, SideInputs
from retrieval.towers.pair import TowerPair
from retrieval.training.config import TrainingConfig
from retrieval.training.labels import Labels
from retrieval.training.losses import compares_every_item, make_loss
from retrieval.training.losses.comparison import Comparison
from retrieval.training.machine import tower_precision
from retrieval.training.negatives import make_sources
from retrieval.training.negatives.base import NegativeSource
from retrieval.training.negatives.mixed import Candidates, all_items, mix
from retrieval.training.periods import PeriodShares
from retrieval.training.popularity import ESTIMATORS, UNCORRECTED, make_popularity
from retrieval.training.popularity.base import Popularity
from retrieval.training.popularity.counts import Counts
from retrieval.training.sequences import Batch

_LEAST_WEIGHT = 1e-12  # a batch whose weights are all 0 adds nothing


@dataclass(frozen=True)
class StepInputs:
    """What every step needs besides its batch."""

    items: ItemInputs
    sides: SideInputs
    features: Features
    counts: Ints
    labels: Labels
    periods: PeriodShares | None = None
    """Popularity by period, where batches are of one period each."""


class Objective:
    """The loss of a batch, by the settings. It may remember (memory, streaming estimates): see `state`."""

    def __init__(self, config: TrainingConfig, inputs: StepInputs, device: torch.device) -> None:
        self._config = config
        negatives = config.negatives
        seen = np.flatnonzero(inputs.counts)
        every_item = compares_every_item(config.loss, len(seen))
        self._loss = make_loss(config)
        self._everything = all_items(seen) if every_item else None
        self._popularity: Popularity = inputs.periods or Counts(inputs.counts)
        self._sources: dict[str, NegativeSource] = {}
        if not every_item:
            self._popularity = make_popularity(negatives, inputs.counts, inputs.periods)
            self._sources = make_sources(self._popularity, negatives)
        self._corrected = every_item or not ESTIMATORS.has(negatives.correction, UNCORRECTED)
        self._inputs = inputs
        self._seen = len(seen)
        self._device = device
        self._nearest: Tensor | None = None

    def candidates(self, targets: Ints, rng: np.random.Generator, at_us: int | None = None) -> Candidates:
        """Negatives for a whole batch with these target items [P]; what remembers, remembers the batch.

        `at_us` is when the batch's period began, where it has one.
        """
        self._popularity.observe(targets, at_us)
        if self._everything is not None:
            return self._everything
        return mix(list(self._sources.values()), targets, rng, corrected=self._corrected)

    def __call__(self, pair: TowerPair, batch: Batch, rng: np.random.Generator, whole: Batch | None = None) -> Tensor:
        """Mean loss, weighted, over a step's positions.

        Where several processes share a step, each gives its part of it as `batch` and all of it as `whole`: candidates,
        what is dropped or hidden, and the sum of weights are those of the whole, so that losses and gradients of all
        parts add up to the step's, given that all processes' generators stand alike.
        """
        labels = self._inputs.labels
        rows = batch.target if whole is None else whole.target
        everyone = labels.items(rows)
        drawn = self.candidates(everyone, rng, batch.at)
        if not len(batch.target):  # one of several processes, and fewer windows than processes
            return torch.zeros((), device=self._device)
        items = np.union1d(drawn.items, everyone)
        windows = len(batch.users if whole is None else whole.users)
        with tower_precision(self._config, self._device), rows_of_batch(batch.rows, windows):
            vectors = pair.item(self._item_rows(pair, self._tensor(items), batch.at, rng)).float()  # [M, D]
            users = self._users(pair, batch, windows, rng).float()
        negatives = (
            vectors[self._tensor(np.searchsorted(items, drawn.items))] if len(items) > len(drawn.items) else vectors
        )
        users = users * torch.exp(-pair.log_temperature)  # [P, D], of several interests [P, E, D]
        if batch.target_position is not None:  # several targets of one position, or none
            at = self._tensor(batch.target_position)
            users = torch.nn.functional.embedding(at, users.flatten(1)).view(-1, *users.shape[1:])
        targets, weights = labels.items(batch.target), labels.weights(batch.target)
        total = weights.sum() if whole is None else labels.weights(rows).sum()
        own = torch.nn.functional.embedding(self._tensor(np.searchsorted(items, targets)), vectors)
        return self._loss(
            Comparison(
                users=users,
                negatives=negatives,
                bias=self._tensor(drawn.bias),
                positives=self._positives(users, own),
                hits=self._tensor(drawn.position_of(targets)),
                weights=self._tensor((weights / max(float(total), _LEAST_WEIGHT)).astype(np.float32)),
                own_bias=self._tensor(drawn.own_bias(targets)),
                others=self._tensor(drawn.others(targets)),
                draws=drawn.draws,
                items=self._seen,
                corrected=self._corrected,
            )
        )

    def take_interests(self) -> list[float]:
        """Of the targets since the last call, the share that each interest was nearest to; empty without several."""
        counts, self._nearest = self._nearest, None
        return [] if counts is None else (counts / counts.sum()).tolist()

    def weight(self, batch: Batch) -> float:
        """Sum of the weights of a batch's targets: what its mean loss counts for beside other batches."""
        return float(self._inputs.labels.weights(batch.target).sum())

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold so that a resumed run goes on exactly; empty for most settings."""
        parts = {f"{name}.{key}": value for name, part in self._parts().items() for key, value in part.state().items()}
        return {name: torch.from_numpy(value.copy()) for name, value in parts.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up what `state` gave. Raises ArtifactError where it is of other settings."""
        for name, part in self._parts().items():
            own = {key.removeprefix(f"{name}."): v.numpy() for key, v in state.items() if key.startswith(f"{name}.")}
            if own.keys() != part.state().keys():
                raise ArtifactError(f"the checkpoint holds no state of {name}; train with --fresh")
            part.restore(own)

    def _positives(self, users: Tensor, own: Tensor) -> Tensor:
        """Logits [P] of the targets' vectors [P, D]."""
        if users.dim() == 2:
            return (users * own).sum(-1)
        best, nearest = (users * own[:, None]).sum(-1).max(1)
        # not bincount, which would wait for a GPU
        counts = (nearest[:, None] == torch.arange(users.shape[1], device=nearest.device)).sum(0)
        self._nearest = counts if self._nearest is None else self._nearest + counts
        return best

    def _parts(self) -> dict[str, NegativeSource | Popularity]:
        return {"popularity": self._popularity, **self._sources}

    def _item_rows(
        self, pair: TowerPair, rows: Tensor, at_us: int | None, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        encoded = self._inputs.items.items(rows, at_us)
        share = pair.config.id_dropout
        if pair.item.has_features and share:
            buckets = self._inputs.features.item_vocabulary.oov_buckets
            hidden = self._tensor(rng.random(len(rows)) < share)
            unknown = self._tensor(rng.integers(1, buckets + 1, len(rows)))
            encoded[ITEM_ID] = torch.where(hidden, unknown, encoded[ITEM_ID])
        return encoded

    def _users(self, pair: TowerPair, batch: Batch, windows: int, rng: np.random.Generator) -> Tensor:
        history = batch.history
        table, items, chunked = self._token_table(pair, history, rng)
        tokens = pair.user.tokens(table, items, self._tensor(history.actions), self._tensor(history.gaps))
        if history.chunks is not None:
            tokens = with_chunks(pair.user, tokens, table, chunked, history.chunks)
        states = pair.user.states(tokens, self._tensor(history.times), self._tensor(history.query_times))  # [B, L, D]
        L = states.shape[1]
        at = self._tensor(batch.position_row * L + batch.position_column)
        states = torch.nn.functional.embedding(at, states.reshape(-1, states.shape[-1]))  # [P, D]
        return pair.user.embed(states, self._side(pair, batch, windows, rng))

    def _token_table(
        self, pair: TowerPair, history: HistoryTokens, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens of the codes that occur (of all, where the vocabulary is small), and the batch's codes as rows of it.

        These are of the histories' tokens [B, L], and of the events in chunks [T].
        """
        key = int(rng.integers(2**62)) if _hides_tokens(pair) else None
        known = self._inputs.items.tokens
        codes, chunked = history.items, history.items[:0, 0] if history.chunks is None else history.chunks.items
        if known <= codes.size + chunked.size:
            table = pair.token_table(self._token_inputs(pair, np.arange(known), key))
            return table, self._tensor(codes), self._tensor(chunked)
        used = np.union1d(codes[codes < known], chunked)
        rows = np.where(codes < known, np.searchsorted(used, codes), codes - known + len(used))
        table = pair.token_table(self._token_inputs(pair, used, key))
        return table, self._tensor(rows), self._tensor(np.searchsorted(used, chunked))

    def _token_inputs(self, pair: TowerPair, codes: Ints, key: int | None) -> dict[str, Tensor]:
        """Encoded features of some codes; the ids of a few are hidden, the same ones in all parts of a batch."""
        encoded = self._inputs.items.codes(self._tensor(codes))
        if key is not None:
            vocabulary = self._inputs.features.item_vocabulary
            drawn = _drawn(codes, key)
            hidden = (drawn < pair.config.history_id_dropout) & (codes >= vocabulary.first)
            bucket = 1 + np.floor(drawn / pair.config.history_id_dropout * vocabulary.oov_buckets).astype(np.int64)
            encoded[ITEM_ID] = torch.where(self._tensor(hidden), self._tensor(bucket), encoded[ITEM_ID])
        return encoded

    def _side(self, pair: TowerPair, batch: Batch, windows: int, rng: np.random.Generator) -> dict[str, Tensor]:
        side = self._inputs.sides.read(batch.users, batch.position_row, batch.next_event, batch.previous)
        side = {name: values.to(self._device) for name, values in side.items()}
        if side and pair.config.profile_dropout:
            hidden = (rng.random(windows) < pair.config.profile_dropout)[batch.rows]
            side = self._inputs.sides.hide_profiles(side, self._tensor(hidden[batch.position_row]))
        return side

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)


def _hides_tokens(pair: TowerPair) -> bool:
    """Whether history tokens must do without some ids: where there are features that could stand in for them."""
    config = pair.config
    return bool(config.history_id_dropout) and config.item_features_in_history and pair.item.has_fixed


def _drawn(codes: Ints, key: int) -> Figures:
    """Uniform numbers of [0, 1) that follow from the code and the key alone, however many codes there are: [n]."""
    state = codes.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # SplitMix64's finish
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    return (state >> np.uint64(11)).astype(np.float64) / 2.0**53
