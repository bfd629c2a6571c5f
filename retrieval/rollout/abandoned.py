"""What killed processes had begun and nobody went on with: reserved numbers, artifacts that no row points at."""

from __future__ import annotations

from datetime import timedelta

from retrieval.errors import NotFoundError
from retrieval.registry import Registry, utc_now
from retrieval.storage import ArtifactStore
from retrieval.storage.keys import build_key, version_key


def give_up_abandoned(registry: Registry, store: ArtifactStore, model: str, *, older_than_s: float) -> list[str]:
    """Mark versions and builds as failed that have been in the making for so long, and delete what lies there of them.

    Returns their names. Raises UnavailableError.
    """
    before = utc_now() - timedelta(seconds=older_than_s)
    why = "given up: in the making for too long"
    given_up = []
    for build in registry.list_builds(model, states=["building"]):
        if build.created_at <= before:
            registry.set_build_state(build.id, "failed", reason=why)
            _delete(store, build_key(build.id))
            given_up.append(str(build.id))
    for version in registry.list_versions(model, states=["reserved"]):
        if version.created_at <= before:
            registry.set_version_state(version.id, "failed", reason=why)
            _delete(store, version_key(version.id))
            given_up.append(str(version.id))
    return given_up


def _delete(store: ArtifactStore, key: str) -> None:
    try:
        store.delete(key)
    except NotFoundError:
        return
