"""Pass 1 of building histories: which users, items, actions and context values there are, and events per user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.data.histories.columns import StoredContext, context_values
from retrieval.data.histories.distinct import ValueCounts
from retrieval.data.histories.histories import NO_ACTION, UNKNOWN_ACTION
from retrieval.data.reading.profiles import Profiles
from retrieval.data.reading.rejects import RejectsWriter
from retrieval.data.reading.schema import IdKind, context_kind, plain
from retrieval.data.reading.validation import EventLayout, Report, batch_rows, check_events
from retrieval.errors import DataError
from retrieval.observability import track

MAX_ACTIONS = 1_000
ACTION = ""  # stands for the action column beside the names of context columns


@dataclass(frozen=True)
class LogContents:
    """What pass 1 found: all ids, sorted (int64 or large_string), events per user [U], names of actions, context."""

    users: pa.Array
    counts: npt.NDArray[np.int64]
    items: pa.Array
    actions: tuple[str, ...]
    context: tuple[StoredContext, ...]
    report: Report


def collect(
    layout: EventLayout,
    users: Profiles | None,
    items: Profiles | None,
    rejects: Path,
    memory_limit_mb: int,
    *,
    show: bool,
) -> LogContents:
    """Read and check all events once. Raises DataError where none can be used, or a column can't be its role."""
    user_counter = _id_counter(layout.user_kind, users)
    item_counter = _id_counter(layout.item_kind, items)
    actions = ValueCounts(pa.large_string())
    place = {name: f"{layout.source.path}: column {name!r}" for name in layout.context}
    kinds = {name: context_kind(place[name], layout.source.types[name]) for name in layout.context}
    values = {name: ValueCounts(pa.large_string()) for name, kind in kinds.items() if kind == "codes"}
    with_nulls: set[str] = set()
    report = Report(unit=layout.unit)
    with (
        track("Reading events", layout.source.rows, unit="events", show=show) as tracker,
        RejectsWriter(rejects) as writer,
    ):
        for checked in check_events(layout, batch_rows(memory_limit_mb)):
            report.add(checked)
            writer.write(checked.rejects)
            user_counter.add(checked.users)
            item_counter.add(checked.items)
            if checked.action is not None:
                actions.add(action_text(checked.action))
                with_nulls |= {ACTION} if checked.action.null_count else set()
            for name, column in checked.context.items():
                with_nulls |= {name} if column.null_count else set()
                if name in values:
                    values[name].add(context_values(column, "codes", place[name]))
            tracker.advance(checked.rows)
    if report.good == 0:
        reasons = ", ".join(f"{count:,} × {reason}" for reason, count in sorted(report.rejected.items()))
        raise DataError(f"{layout.source.path}: none of its {report.rows:,} rows can be used: {reasons}")
    user_ids, counts = user_counter.result()
    item_ids, _ = item_counter.result()
    context = tuple(
        StoredContext(name, kind, values[name].result()[0] if kind == "codes" else None, name in with_nulls)
        for name, kind in kinds.items()
    )
    return LogContents(
        user_ids, counts, item_ids, _action_names(layout, actions, ACTION in with_nulls), context, report
    )


def _id_counter(kind: IdKind, profiles: Profiles | None) -> ValueCounts:
    counter = ValueCounts(pa.int64() if kind == "int" else pa.large_string())
    if profiles is not None:
        counter.include(profiles.ids)
    return counter


def action_text(column: pa.Array) -> pa.Array:
    """Raw actions as large_string."""
    return plain(column).cast(pa.large_string())


def _action_names(layout: EventLayout, counter: ValueCounts, nameless: bool) -> tuple[str, ...]:
    if layout.action is None:
        return (NO_ACTION,)
    names = [str(name) for name in counter.result()[0].to_pylist()]
    if len(names) > MAX_ACTIONS:
        raise DataError(
            f"{layout.source.path}: column {layout.action!r} has {len(names):,} different values, at most "
            f"{MAX_ACTIONS:,} actions are possible; name the right column as data.action_column"
        )
    if nameless and UNKNOWN_ACTION not in names:
        names.append(UNKNOWN_ACTION)
    return tuple(names)
