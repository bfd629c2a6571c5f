"""Which versions were live, so that a step gets the same inputs before and after its own outcome went live.

A chain that is run again on the same log must find what it made, and not take it for the version to compare with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from retrieval.errors import RetrievalError
from retrieval.registry import BuildRow, Registry, VersionRow
from retrieval.storage import ArtifactStore
from retrieval.towers.artifact import VERSION_KIND
from retrieval.types import BuildId


@dataclass(frozen=True, slots=True)
class Live:
    """A version that was live, its build, and the snapshot of the log that it learned from."""

    version: VersionRow
    build: BuildRow
    snapshot: str


def live_before(
    registry: Registry, store: ArtifactStore, model: str, *, not_version: int | None = None, not_snapshot: str = ""
) -> Live | None:
    """The newest version that was live but for `not_version`, and those that learned from `not_snapshot`."""
    for one in _served(registry, store, model):
        if one.version.version != not_version and (not not_snapshot or one.snapshot != not_snapshot):
            return one
    return None


def _served(registry: Registry, store: ArtifactStore, model: str) -> Iterator[Live]:
    """Versions on the stack of deployments that can still be read, newest first."""
    seen: set[int] = set()
    for number in reversed(registry.served_builds(model)):
        build = registry.get_build(BuildId(model, number))
        if build.version in seen:
            continue
        seen.add(build.version)
        version = registry.get_version(build.model_version)
        if version.state != "ready":
            continue
        try:
            facts = store.manifest(version.key, kind=VERSION_KIND).facts
        except RetrievalError:
            continue
        yield Live(version, build, str(facts.get("data_snapshot", "")))
