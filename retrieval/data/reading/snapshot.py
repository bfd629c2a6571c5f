"""The data snapshot: one hash for the contents of all input files and the settings that say how they are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from retrieval.data.config import DataConfig
from retrieval.data.reading.forgotten import FILE, forgotten_file
from retrieval.data.reading.sources import list_files
from retrieval.data.reading.until import event_files
from retrieval.observability import SILENT, Tracker

FORMAT = 1
"""Changes whenever the same inputs would make different histories."""
_BLOCK = 1 << 22
_READING = frozenset(
    {
        "user_column",
        "item_column",
        "timestamp_column",
        "action_column",
        "timestamp_unit",
        "context_columns",
        "future_hours",
    }
)


def input_files(config: DataConfig, root: Path) -> list[tuple[str, Path]]:
    """All input files with their names, which do not depend on where the workspace lies. Raises DataError."""
    return _named(config, root, event_files(config, root).files)


def _named(config: DataConfig, root: Path, events: Sequence[Path]) -> list[tuple[str, Path]]:
    found = []
    for what, place in (("events", config.events), ("users", config.users), ("items", config.items)):
        if place:
            base = root / place
            files = events if what == "events" else list_files(base, what)
            found += [(f"{what}/{'' if file == base else file.relative_to(base).as_posix()}", file) for file in files]
    forgotten = forgotten_file(config, root)
    return [*found, (FILE, forgotten)] if forgotten.is_file() else found


def snapshot_of(
    config: DataConfig, root: Path, *, files: Sequence[tuple[str, Path]] | None = None, tracker: Tracker = SILENT
) -> str:
    """BLAKE2b (hex, 128 bits) over what is read and how. The tracker advances in bytes.

    `data.until` counts only where it leaves out something of a file that is read. `files` are those of an earlier
    `input_files`, for callers that read just these.
    """
    digest = hashlib.blake2b(digest_size=16)
    settings = config.model_dump(mode="json", include=set(_READING))
    read = event_files(config, root)
    if read.cut:
        settings["until"] = config.until_us
    digest.update(json.dumps({"format": FORMAT, "settings": settings}, sort_keys=True).encode())
    for name, path in _named(config, root, read.files) if files is None else files:
        digest.update(json.dumps([name, path.stat().st_size]).encode())
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                tracker.advance(len(block))
    return digest.hexdigest()
