"""Building histories out of core: two passes over the events, then one sort per bucket of users.

Pass 1 checks the rows and collects what is distinct (users, items, actions, context values; events per user).
Pass 2 writes every event, as codes, to the bucket file of its user; a bucket is a range of users that fits in memory.
The buckets, sorted one after another by (user, time) and stable, are the histories. Memory grows with users and items,
and with the events of the most active single user, never with all events.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from retrieval.data.config import DataConfig
from retrieval.data.folders import written_folder
from retrieval.data.histories.collecting import LogContents, collect
from retrieval.data.histories.histories import KIND, Histories, open_histories, write_ids
from retrieval.data.histories.sorting import sort_events
from retrieval.data.reading.profiles import align, read_profiles
from retrieval.data.reading.schema import ids_as_text
from retrieval.data.reading.snapshot import snapshot_of
from retrieval.data.reading.sources import open_source
from retrieval.data.reading.validation import open_events
from retrieval.errors import DataError
from retrieval.storage import write_manifest
from retrieval.storage.arrow import write_arrow


def build_histories(
    config: DataConfig,
    root: Path,
    out: Path,
    *,
    snapshot: str | None = None,
    files: Sequence[Path] | None = None,
    show: bool = True,
) -> Histories:
    """Build the histories of the events that the settings name into the folder `out`, which appears when complete.

    Of the events only `files` are read, where given.

    Also writes the users and items tables, aligned with the ids, and the rows that were refused.
    Raises DataError for what is wrong with the files.
    """
    named = snapshot or snapshot_of(config, root)
    layout = open_events(config, root, other_ids=_id_types(config, root), files=files)
    users = read_profiles(root / config.users, "users", config.user_column, layout.user_kind) if config.users else None
    items = read_profiles(root / config.items, "items", config.item_column, layout.item_kind) if config.items else None
    with written_folder(out, existing="keep") as folder:  # another process may be faster with the same histories
        found = collect(layout, users, items, folder / "rejects.parquet", config.memory_limit_mb, show=show)
        _check_disk(folder, found)
        first_us, last_us = sort_events(layout, found, folder, config.memory_limit_mb, show=show)
        user_ids, item_ids = ids_as_text(found.users), ids_as_text(found.items)
        write_ids(folder / "user_ids.arrow", user_ids)
        write_ids(folder / "item_ids.arrow", item_ids)
        write_arrow(folder / "users.arrow", align(users, user_ids, config.user_column).combine_chunks())
        write_arrow(folder / "items.arrow", align(items, item_ids, config.item_column).combine_chunks())
        rejected = dict(found.report.rejected)
        for profiles in (users, items):
            rejected |= profiles.rejected if profiles else {}
        facts = {
            "snapshot": named,
            "users": len(user_ids),
            "items": len(item_ids),
            "events": found.report.good,
            "rows": found.report.rows,
            "rejected": rejected,
            "action_names": list(found.actions),
            "context": [{"name": column.name, "kind": column.kind} for column in found.context],
            "first_us": first_us,
            "last_us": last_us,
            "timestamp_unit": layout.unit,
        }
        write_manifest(folder, KIND, facts)
    return open_histories(out)


def _id_types(config: DataConfig, root: Path) -> dict[str, pa.DataType]:
    """Types of the id columns of the users and items tables, where there are such tables."""
    tables = (("users", config.users, config.user_column), ("items", config.items, config.item_column))
    return {
        what: open_source(root / place, what, required=[column]).types[column]
        for what, place, column in tables
        if place
    }


def _check_disk(folder: Path, found: LogContents) -> None:
    per_event = 2 * (17 + 8 * len(found.context))
    needed, free = per_event * found.report.good, shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{folder.parent}: {free / 1e9:.1f} GB free on the disk, histories of {found.report.good:,} events "
            f"need about {needed / 1e9:.1f} GB while they are built"
        )
