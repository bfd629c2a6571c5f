"""Fitted features: the one way from raw values to the arrays that towers read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.arrays import Codes, Ints
from retrieval.errors import RequestError
from retrieval.features.chunks import chunk_counts
from retrieval.features.columns import Column
from retrieval.features.declaration import SIDES, Side
from retrieval.features.history import HistoryTokens, lay_out
from retrieval.features.inputs import EncodedHistories, Events, FeatureInput, HistoryInputs
from retrieval.features.kinds.age import GAPS_CARDINALITY, gap_codes
from retrieval.features.kinds.categorical import Category
from retrieval.features.kinds.transform import Transform
from retrieval.features.spec import ITEM_ID, FeatureSpec
from retrieval.features.vocabulary import Vocabulary

if TYPE_CHECKING:
    from retrieval.data.histories.histories import Histories


@dataclass(frozen=True)
class Features:
    """A feature spec with all that was learned about it. Immutable and safe to share between threads."""

    spec: FeatureSpec
    transforms: Mapping[Side, tuple[Transform, ...]]
    actions: Vocabulary
    new_items: tuple[str, ...] = ()
    """Ids of the catalogue that training didn't meet, of items that have features. In histories each is a token of its
    own, made of these and the id vector that stands for unknown ids; as candidates they need no code of their own."""

    @cached_property
    def item_vocabulary(self) -> Vocabulary:
        """The vocabulary of the `item_id` feature, which history tokens share."""
        made = next(made for made in self.transforms["item"] if made.declaration.name == ITEM_ID)
        return cast("Category", made).vocabulary

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the spec and everything learned; equal exactly when all encodings are."""
        from retrieval.features.saving import fingerprint

        return fingerprint(self)

    @cached_property
    def _inputs(self) -> dict[Side, tuple[FeatureInput, ...]]:
        return {side: tuple(i for made in self.transforms[side] for i in _made_inputs(made, side)) for side in SIDES}

    def inputs(self, side: Side) -> tuple[FeatureInput, ...]:
        """The tower inputs of one side; `encode` gives an array for each, under its name."""
        return self._inputs[side]

    def columns(self, side: Side) -> tuple[str, ...]:
        """The raw columns that `encode` reads for one side, `last_event_at` among them where it is needed."""
        sources = (made.declaration.source for made in self.transforms[side])
        return tuple(sorted({name for name in sources if name is not None}))

    def encode(
        self,
        side: Side,
        columns: Mapping[str, Any],
        n: int,
        at: npt.NDArray[np.int64] | None = None,
        *,
        time_varying: bool | None = None,
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Encode n rows: arrays by input name, in the forms that `FeatureInput` describes.

        Each column is an Arrow array of n rows, or a sequence of n Python values; one that is absent is all missing,
        and so is a None or NaN. `at` is each row's request time in µs. Values never seen in training go to the buckets
        for unknown ones. With `time_varying`, only features that vary with time are encoded (True), or only the others
        (False). Raises RequestError (DataError for Arrow columns), naming the feature and what was expected.
        """
        out: dict[str, np.ndarray[Any, Any]] = {}
        for made in self.transforms[side]:
            varies = made.declaration.time_varying
            if time_varying is not None and varies != time_varying:
                continue
            source = made.declaration.source
            values = None if source is None else columns.get(source)
            told = at if varies or side == "context" else None
            out.update(made.encode(Column.of(made.declaration.name, values, n), told))
        return out

    def encode_history(
        self, item_ids: Sequence[str], actions: Sequence[str | None], timestamps: Sequence[int] | Ints
    ) -> EncodedHistories:
        """Encode one user's events, oldest first: the newest `spec.history.events` of them.

        `actions` may be empty where none are known. Raises RequestError on lengths that differ and on values of a
        wrong type.
        """
        if len(timestamps) != len(item_ids) or len(actions) not in {0, len(item_ids)}:
            raise RequestError(
                f"history: {len(item_ids)} item ids, {len(actions)} actions, {len(timestamps)} timestamps; "
                "give as many of each"
            )
        length, read = self.spec.history.length, self.spec.history.events
        items = self._with_new(_looked_up(self.item_vocabulary, item_ids[-read:], "item ids"), item_ids[-read:])
        codes = np.zeros(len(items), np.int64)
        if self.spec.history.actions and len(actions):
            codes[:] = _looked_up(self.actions, actions[-read:], "actions")
        times = _whole(timestamps[-read:])
        newest = _events(items[-length:], codes[-length:], times[-length:])
        if not self.spec.history.older:
            return EncodedHistories(newest)
        return EncodedHistories(newest, _events(items[:-length], codes[:-length], times[:-length]))

    def lay_out(self, histories: EncodedHistories, query_us: Codes) -> HistoryTokens:
        """Tokens of n histories, each queried at `query_us`, int64 µs [n] (see `history.lay_out`)."""
        return lay_out(histories, query_us, self._history_inputs, self.gap_codes)

    @cached_property
    def _history_inputs(self) -> HistoryInputs:
        known = self.item_vocabulary.cardinality + len(self.new_items)
        actions = self.actions.cardinality if self.spec.history.actions else 1
        gaps = GAPS_CARDINALITY if self.spec.history.time else 1
        chunks = int(chunk_counts(np.array(self.spec.history.older)))
        return HistoryInputs(known + 2 + (chunks > 0), actions, gaps, bos=known, pad=known + 1, chunks=chunks)

    def history_inputs(self) -> HistoryInputs:
        """Cardinalities of the history's codes, and the codes of BOS and PAD."""
        return self._history_inputs

    def history_codes(self, histories: Histories) -> tuple[Ints, Ints]:
        """Codes of every catalog item (int64 [N]) and every action (int64 [A]) of some histories, for bulk encoding."""
        items = self.token_codes(histories.item_ids)
        names = histories.action_names
        actions = self.actions.codes(list(names)) if self.spec.history.actions else [0] * len(names)
        return items, np.array(actions, np.int64)

    def id_codes(self, item_ids: pa.Array | pa.ChunkedArray) -> Ints:
        """Codes of items in the vocabulary of `item_id`, int64 [n]."""
        return _in_blocks(item_ids, self.item_vocabulary.array)

    def token_codes(self, item_ids: pa.Array | pa.ChunkedArray) -> Ints:
        """Codes that items have as tokens of histories, int64 [n]."""
        return _in_blocks(item_ids, lambda ids: self._with_new(self.item_vocabulary.array(ids), ids))

    @cached_property
    def _new_vocabulary(self) -> Vocabulary:
        return Vocabulary(self.new_items, 1)

    def _with_new(self, codes: Ints, item_ids: Sequence[Any]) -> Ints:
        """The codes [n] of ids with those of new items in the place of unknown ones."""
        if not self.new_items:
            return codes
        unknown = np.flatnonzero(codes < self.item_vocabulary.first)
        if not len(unknown):
            return codes
        found = self._new_vocabulary.array([item_ids[at] for at in unknown.tolist()])
        new = found >= self._new_vocabulary.first
        codes[unknown[new]] = self.item_vocabulary.cardinality + found[new] - self._new_vocabulary.first
        return codes

    def gap_codes(self, deltas: Ints) -> Ints:
        """Codes of times between consecutive events in µs; zeros where features.history.time is off."""
        return gap_codes(deltas) if self.spec.history.time else np.zeros(np.shape(deltas), np.int64)

    def save(self, folder: Any) -> None:
        """Write into `folder` (made where absent): features.json, and one Arrow file per vocabulary."""
        from retrieval.features.saving import save

        save(self, folder)

    @classmethod
    def load(cls, folder: Any) -> Features:
        """Read what `save` wrote. Raises ArtifactError that names the file where it can't be what was written."""
        from retrieval.features.saving import load

        return load(folder)


def _made_inputs(made: Transform, side: Side) -> tuple[FeatureInput, ...]:
    varies = made.declaration.time_varying
    return tuple(replace(one, time_varying=varies) for one in made.inputs(side))


def _events(items: Ints, actions: Ints, times: Ints) -> Events:
    """Those of one history."""
    return Events(items, actions, times, np.array([len(items)]))


def _looked_up(vocabulary: Vocabulary, values: Sequence[Any], what: str) -> Ints:
    try:
        return vocabulary.array(values)
    except TypeError as error:
        raise RequestError(f"history: {what} must be text; one is {error}") from None


def _whole(timestamps: Sequence[int] | Ints) -> Ints:
    try:
        times = np.asarray(timestamps)
    except (TypeError, ValueError, OverflowError):
        times = np.array([None])
    if len(times) and times.dtype.kind not in "iu":
        raise RequestError(f"history: timestamps must be int64, in µs since 1970; found {times.dtype}")
    return times.astype(np.int64)


def _in_blocks(ids: pa.Array | pa.ChunkedArray, codes: Callable[[list[Any]], Ints]) -> Ints:
    """Codes of ids [n], of which only a block is held as Python objects."""
    blocks = [codes(ids.slice(start, 1 << 16).to_pylist()) for start in range(0, len(ids), 1 << 16)]
    return np.concatenate([np.zeros(0, np.int64), *blocks])
