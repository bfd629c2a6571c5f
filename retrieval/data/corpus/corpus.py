"""Which items can be retrieved as of a moment, from the declaration, the catalog and the log.

Point in time: what is asked about a moment depends on nothing that came later. N items, T requests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from retrieval.arrays import Ints, Mask
from retrieval.data.corpus.alike import Alike, open_alike
from retrieval.data.corpus.config import WHERE, CorpusConfig
from retrieval.data.dataset import Dataset
from retrieval.data.facts.activity import Activity, item_activity
from retrieval.data.facts.items import NEVER, first_event_times
from retrieval.data.histories.histories import Histories
from retrieval.data.splits import Split
from retrieval.errors import ConfigError, DataError, RequestError
from retrieval.filters.attributes import Attributes, attribute_table
from retrieval.filters.filter import fields_of
from retrieval.filters.text import parse_filters
from retrieval.types import DAY_US, MINUTE_US


@dataclass(frozen=True)
class Corpus:
    """The declaration, and what it needs to know of the items."""

    config: CorpusConfig
    eligible: Mask
    """bool [N]: items that meet the conditions, whatever the moment."""
    first_us: Ints
    """int64 [N]: time of each item's first event in µs; NEVER where it has none."""
    available_us: Ints | None = None
    """int64 [N]: when each item becomes available, in µs; the smallest number where no date is known."""
    activity: Activity | None = None
    """Times of events, where `engaged_days` asks for them."""
    built_us: int = 0
    """When the index is built that is never refreshed."""
    alike: tuple[Alike, ...] = ()
    """Which items share values, by each column of `seen_by`."""

    def items_at(self, at_us: int) -> Mask:
        """What an index as of this moment (µs) holds, from events before it: bool [N]."""
        config = self.config
        engaged = self.first_us < at_us
        if config.items == "engaged":
            found = engaged & self.eligible
            if self.activity is not None and config.engaged_days is not None:
                rows = np.flatnonzero(found)
                found[rows] = self.activity.counts(rows, at_us, int(config.engaged_days * DAY_US)) > 0
        else:
            dated = np.False_ if self.available_us is None else self.available_us > _NO_DATE
            found = (engaged | (self.first_us == NEVER) | dated) & self.eligible
        return found if self.available_us is None else found & (self.available_us <= at_us)

    def moments(self, times: Ints) -> Ints:
        """The moments of the indexes that requests at `times` (µs, int64 [T]) meet: int64 [T]."""
        if not self.config.refresh_minutes:
            return np.full(len(times), self.built_us, np.int64)
        step = max(1, round(self.config.refresh_minutes * MINUTE_US))
        return np.asarray(times, np.int64) // step * step


_NO_DATE = np.iinfo(np.int64).min


def open_corpus(config: CorpusConfig, dataset: Dataset) -> Corpus:
    """The corpus of a dataset; an index that is built once is built after the last event.

    Raises ConfigError and DataError for columns that the declaration names and the items don't have.
    """
    return Corpus(
        config=config,
        eligible=_eligible(config, dataset.items),
        first_us=first_event_times(dataset.histories),
        available_us=_available(config, dataset.items),
        activity=None if config.engaged_days is None else item_activity(dataset.histories),
        built_us=end_of_log(dataset.histories),
        alike=open_alike(dataset.items, config.seen_by),
    )


def measured_corpus(
    config: CorpusConfig, dataset: Dataset, split: Split, targets: Literal["test", "valid"] = "test"
) -> Corpus:
    """The corpus that a split's targets are measured against.

    An index that is built once is built where the window of the targets begins; with leave one out, which has no
    window, after the last event. Raises as `open_corpus`.
    """
    return built_for(open_corpus(config, dataset), split, targets)


def built_for(corpus: Corpus, split: Split, targets: Literal["test", "valid"]) -> Corpus:
    """The same, for the other targets of a split."""
    starts = split.test_from_us if targets == "test" else split.valid_from_us
    return corpus if starts is None else replace(corpus, built_us=starts)


def as_built_at(corpus: Corpus, at_us: int) -> Corpus:
    """The same as one index as of this moment (µs) holds it, for requests at any time."""
    return replace(corpus, config=corpus.config.model_copy(update={"refresh_minutes": 0.0}), built_us=at_us)


def as_held(corpus: Corpus, items: Mask) -> Corpus:
    """The same as an index holds it that has these items (bool [N]) and no others, for requests at any time."""
    config = CorpusConfig(items="catalog", **corpus.config.of_seen())
    return Corpus(config, items, np.full(len(items), NEVER), alike=corpus.alike)


def end_of_log(histories: Histories) -> int:
    """The first moment (µs) that all events of the log lie before."""
    return histories.last_us + 1


def _eligible(config: CorpusConfig, items: pa.Table) -> Mask:
    wanted = parse_filters(config.where, where=WHERE)
    if wanted is None:
        return np.ones(items.num_rows, np.bool_)
    table = attribute_table(items, fields_of(wanted), setting=WHERE)
    columns = dict(zip(table.column_names, table.columns, strict=True))
    try:
        return np.array(Attributes(columns, items.num_rows).allowed(wanted).mask)
    except RequestError as error:
        raise ConfigError(f"{WHERE}: {error}") from error


def _available(config: CorpusConfig, items: pa.Table) -> Ints | None:
    name = config.available_from
    if not name:
        return None
    if name not in items.column_names:
        raise DataError(
            f"corpus.available_from names {name!r}, the items have no such column; "
            f"they have: {', '.join(items.column_names)}"
        )
    column = items[name]
    try:
        moments = column.cast(pa.timestamp("us", getattr(column.type, "tz", None)), safe=False).cast(pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"corpus.available_from: {name!r} of type {column.type} holds no dates: {error}") from error
    if pa.types.is_integer(column.type):
        raise DataError(f"corpus.available_from: {name!r} holds plain numbers; expected dates or timestamps")
    return np.asarray(moments.combine_chunks().fill_null(_NO_DATE).to_numpy(zero_copy_only=False), np.int64)
