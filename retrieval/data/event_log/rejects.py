"""The rejects file of the event log: events that can't be used, one JSON line each, with the reason."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from filelock import FileLock

from retrieval.data.event_log.event import Event, Rejected
from retrieval.data.event_log.json_lines import BadLine
from retrieval.data.reading.validation import FORGOTTEN

REJECTS = Path("rejects") / "recorded.jsonl"
"""In the data folder; an older part beside it is called recorded.1.jsonl."""
_SHOWN_CHARACTERS = 1024


def write_rejects(path: Path, events: Sequence[Event], rejected: Iterable[Rejected], *, limit_bytes: int) -> None:
    """Add the refused ones of `events`. What is larger than the limit is put aside first. Raises OSError."""
    _add(path, [(one.reason, _shown(events[one.position], one.reason)) for one in rejected], limit_bytes)


def write_bad_lines(path: Path, bad: Iterable[BadLine], *, limit_bytes: int) -> None:
    """Add lines of a file that are no events. Raises OSError."""
    shown = [(one.reason, {"line": one.line.content[:_SHOWN_CHARACTERS].decode("utf-8", "replace")}) for one in bad]
    _add(path, shown, limit_bytes)


def _add(path: Path, rows: Sequence[tuple[str, Mapping[str, object]]], limit_bytes: int) -> None:
    if not rows:
        return
    now = time.time_ns() // 1000
    lines = [json.dumps({"reason": reason, "at": now, **shown}) for reason, shown in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    with rejects_lock(path):
        if path.exists() and path.stat().st_size > limit_bytes:
            path.replace(older_rejects(path))
        with path.open("a", encoding="ascii") as file:
            file.write("".join(f"{line}\n" for line in lines))


def older_rejects(path: Path) -> Path:
    """Where the part lies that was put aside."""
    return path.with_suffix(".1.jsonl")


def rejects_lock(path: Path) -> FileLock:
    """Held while the file is changed."""
    return FileLock(path.with_name(f".{path.name}.lock"))


def _shown(event: Event, reason: str) -> dict[str, object]:
    if reason == FORGOTTEN:
        return {}  # nothing of them is kept
    texts = {"event_id": event.event_id, "user": event.user_id, "item": event.item_id}
    return {name: text[:_SHOWN_CHARACTERS] for name, text in texts.items()} | {"timestamp": event.timestamp}
