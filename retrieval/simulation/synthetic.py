"""Synthetic logs of any size: latent interests, Zipf popularity, drift, sessions, new users and items every day.

The same seed and a longer period give the same days and then more of them: "newer events" can be had at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from retrieval.data.config import parse_moment
from retrieval.data.importers.suggest import Suggestion
from retrieval.errors import ConfigError
from retrieval.observability import track
from retrieval.simulation.day import (
    ACTIONS,
    BLOCK_USERS,
    DEVICES,
    Events,
    drift,
    fill_shelf,
    simulate,
)
from retrieval.simulation.population import (
    CONTENT_DIM,
    Items,
    Users,
    draw_items,
    draw_users,
    items_table,
    joined,
    topic_prior,
    users_table,
)
from retrieval.storage.atomic import staged_file

_VISIT_EVENTS = 3 * 4.6  # three parts of the day, events a visit
_OLDEST_DAYS = 60.0
_FEATURES: dict[str, tuple[dict[str, Any], ...]] = {
    "user": (
        {"kind": "numeric", "name": "age", "method": "quantile", "buckets": 8},
        {"kind": "categorical", "name": "country"},
        {"kind": "categorical", "name": "follows"},
    ),
    "item": (
        {"kind": "categorical", "name": "category"},
        {"kind": "multi_categorical", "name": "tags"},
        {"kind": "categorical", "name": "format"},
        {"kind": "numeric", "name": "price", "method": "quantile"},
        {"kind": "time", "name": "published", "column": "published", "parts": ("year", "month")},
        {"kind": "text", "name": "title"},
        {"kind": "vector", "name": "content", "size": CONTENT_DIM},
    ),
    "context": (
        {"kind": "categorical", "name": "device"},
        {"kind": "time", "name": "request", "parts": ("hour", "weekday")},
        {"kind": "since_last", "name": "since_last"},
    ),
}


@dataclass(frozen=True, kw_only=True)
class SynthConfig:
    """How large the world is. `days` and `max_events` say how much of it is written, everything else shapes it."""

    users: int = 2_000
    """Users on the first day."""
    items: int = 1_500
    """Items on the first day."""
    days: int = 14
    events_per_user_day: float = 4.0
    new_users_per_day: int = 20
    new_items_per_day: int = 15
    drift: float = 0.02
    """Share of users who change an interest, per day."""
    zipf: float = 0.8
    """Exponent of the items' popularity."""
    start: str = "2025-06-02"
    seed: int = 1
    int_ids: bool = False
    """Integer ids, rather than text such as u17 and i4."""
    max_events: int | None = None
    """Stop after this many events."""

    def __post_init__(self) -> None:
        for name in ("users", "items", "days"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: {getattr(self, name)}; expected at least 1")
        for name in ("new_users_per_day", "new_items_per_day", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}: {getattr(self, name)}; expected 0 or more")
        if not 0 < self.events_per_user_day <= 12:
            raise ConfigError(f"events_per_user_day: {self.events_per_user_day}; expected more than 0, at most 12")
        if not 0 <= self.drift <= 1 or not 0 <= self.zipf <= 4:
            raise ConfigError(f"drift {self.drift} must be within 0 … 1 and zipf {self.zipf} within 0 … 4")
        try:
            parse_moment(self.start)
        except ValueError as error:
            raise ConfigError(f"start: {self.start!r}; expected a day such as 2025-06-02") from error


@dataclass(frozen=True)
class Synthesised:
    """What was written: folders and counts, and the settings that fit them."""

    events_path: Path
    users_path: Path
    items_path: Path
    events: int
    users: int
    items: int
    days: int
    suggestion: Suggestion


def write_synthetic(config: SynthConfig, out: Path, *, first_day: int = 0, show: bool = True) -> Synthesised:
    """Write events/<day>.parquet from day `first_day` on, users.parquet and items.parquet into the folder `out`.

    Earlier days are lived through, not written: with `first_day` = the days that are there, they are continued.
    """
    folder = out / "events"
    folder.mkdir(parents=True, exist_ok=True)
    start_us = parse_moment(config.start)
    written = lived = days = 0
    users, items = _first_users(config), _first_items(config)
    with track("Synthesising", config.days, unit="days", show=show) as tracker:
        for day in range(config.days):
            if day:
                users = joined(users, _new_users(config, day))
                items = joined(items, _new_items(config, day))
            ids = _ids("u", len(users), config), _ids("i", len(items), config)
            target = folder / f"{_date(config, day)}.parquet" if day >= first_day else None
            left = None if config.max_events is None else config.max_events - lived
            count = _write_day(target, _day(config, users, items, day), ids, start_us, left)
            lived += count
            written += count if target else 0
            days = day + 1
            tracker.advance(1, f"{lived:,} events")
            if config.max_events is not None and lived >= config.max_events:
                break
    users_path, items_path = out / "users.parquet", out / "items.parquet"
    _write_table(users_path, users_table(users, _ids("u", len(users), config)))
    _write_table(items_path, items_table(items, _ids("i", len(items), config), start_us))
    return Synthesised(folder, users_path, items_path, written, len(users), len(items), days, _suggestion(out))


def _first_users(config: SynthConfig) -> Users:
    rate = config.events_per_user_day / _VISIT_EVENTS
    return draw_users(config.users, rate, topic_prior(config.seed), 0, [config.seed, 1])


def _new_users(config: SynthConfig, day: int) -> Users:
    rate = config.events_per_user_day / _VISIT_EVENTS
    return draw_users(config.new_users_per_day, rate, topic_prior(config.seed), day, [config.seed, 2, day])


def _first_items(config: SynthConfig) -> Items:
    return draw_items(config.items, config.items, config.zipf, (-_OLDEST_DAYS, 0.0), [config.seed, 3])


def _new_items(config: SynthConfig, day: int) -> Items:
    return draw_items(config.new_items_per_day, config.items, config.zipf, (day - 1.0, day), [config.seed, 4, day])


def _day(config: SynthConfig, users: Users, items: Items, day: int) -> Iterator[Events]:
    drift(users, topic_prior(config.seed), config.drift, np.random.default_rng([config.seed, 5, day]))
    shelf = fill_shelf(items, day)
    for first in range(0, len(users), BLOCK_USERS):
        random = np.random.default_rng([config.seed, 6, day, first])
        last = min(first + BLOCK_USERS, len(users))
        yield simulate(users, first, last, shelf=shelf, day=day, random=random)


def _write_day(
    path: Path | None, blocks: Iterator[Events], ids: tuple[pa.Array, pa.Array], start_us: int, left: int | None
) -> int:
    """Write (or only live through) one day. Returns its events."""
    count = 0
    with ExitStack() as open_files:
        writer: pq.ParquetWriter | None = None
        for events in blocks:
            size = len(events.user) if left is None else min(len(events.user), left - count)
            count += size
            if path is None:
                continue
            table = _events_table(events, size, ids, start_us)
            if writer is None:
                staged = open_files.enter_context(staged_file(path, durable=False))
                writer = open_files.enter_context(pq.ParquetWriter(staged, table.schema, compression="zstd"))
            writer.write_table(table)
    return count


def _events_table(events: Events, size: int, ids: tuple[pa.Array, pa.Array], start_us: int) -> pa.Table:
    return pa.table(
        {
            "user_id": ids[0].take(pa.array(events.user[:size])),
            "item_id": ids[1].take(pa.array(events.item[:size])),
            "timestamp": pa.array(events.time[:size] + start_us, pa.timestamp("us", "UTC")),
            "action": pa.DictionaryArray.from_arrays(pa.array(events.action[:size], pa.int8()), pa.array(ACTIONS)),
            "device": pa.DictionaryArray.from_arrays(pa.array(events.device[:size], pa.int8()), pa.array(DEVICES)),
        }
    )


def _ids(letter: str, count: int, config: SynthConfig) -> pa.Array:
    numbers = pa.array(np.arange(count, dtype=np.int64))
    return numbers if config.int_ids else pc.binary_join_element_wise(letter, numbers.cast(pa.string()), "")


def _date(config: SynthConfig, day: int) -> str:
    start = datetime.fromtimestamp(parse_moment(config.start) / 1e6, UTC)
    return (start + timedelta(days=day)).strftime("%Y-%m-%d")


def _write_table(path: Path, table: pa.Table) -> None:
    with staged_file(path, durable=False) as staged:
        pq.write_table(table, staged, compression="zstd")


def _suggestion(out: Path) -> Suggestion:
    data = {
        "events": f"{out.name}/events",
        "users": f"{out.name}/users.parquet",
        "items": f"{out.name}/items.parquet",
        "context_columns": ("device",),
        "positive_actions": ("click", "save"),
    }
    return Suggestion(data=data, split={"method": "time", "valid_hours": 24.0, "test_hours": 24.0}, features=_FEATURES)
