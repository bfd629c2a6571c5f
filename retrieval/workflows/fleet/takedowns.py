"""Changing the list of items that are never answered; ANN hosts see a change within a second or two."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from retrieval.errors import ConfigError, RequestError
from retrieval.serving.ann.takedowns import TakedownFile
from retrieval.storage.atomic import write_text
from retrieval.workflows.fleet.services import takedowns_file
from retrieval.workflows.workspace.workspace import Workspace

_AUDITED = 100
"""So many ids of a change stand in the audit trail."""


@dataclass(frozen=True, slots=True)
class TakedownsChanged:
    """How many items were put on the list or taken off it, and how many are on it now."""

    changed: int
    listed: int
    file: Path


def list_takedowns(workspace: Workspace) -> list[str]:
    """The items on the list, sorted. Raises ConfigError where no list is set, or it can't be read."""
    return sorted(_listed(_file(workspace)))


def take_down(workspace: Workspace, item_ids: Iterable[str]) -> TakedownsChanged:
    """Put items on the list: hosts answer none of them any more. Raises ConfigError, RequestError."""
    return _change(workspace, "item.takedown", _checked(item_ids), add=True)


def put_back(workspace: Workspace, item_ids: Iterable[str]) -> TakedownsChanged:
    """Take items off the list: hosts answer them again where their index holds them. Raises ConfigError."""
    return _change(workspace, "item.putback", _checked(item_ids), add=False)


def _change(workspace: Workspace, action: str, item_ids: frozenset[str], *, add: bool) -> TakedownsChanged:
    file = _file(workspace)
    with FileLock(file.with_name(f".{file.name}.lock")):
        before = _listed(file)
        after = before | item_ids if add else before - item_ids
        if after != before:
            write_text(file, "".join(f"{item}\n" for item in sorted(after)))
    changed = sorted(before ^ after)
    if changed:
        with closing(workspace.registry()) as registry:
            details = {"items": changed[:_AUDITED], "count": len(changed), "file": str(file)}
            registry.record(action, workspace.model, details)
    return TakedownsChanged(len(changed), len(after), file)


def _file(workspace: Workspace) -> Path:
    file = takedowns_file(workspace)
    if file is None:
        raise ConfigError(
            'serving.takedowns names no list; `takedowns = "takedowns.txt"` under [serving] in retrieval.toml sets '
            "one, and ANN hosts that are started from then on read it"
        )
    return file


def _listed(file: Path) -> frozenset[str]:
    return TakedownFile(file).read() if file.exists() else frozenset()


def _checked(item_ids: Iterable[str]) -> frozenset[str]:
    found = frozenset(item_ids)
    for item in found:
        if not item.strip() or "\n" in item or item.endswith("\r"):
            raise RequestError(f"{item!r} can't stand in a list of one id a line")
    return found
