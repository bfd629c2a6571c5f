from __future__ import annotations

from pathlib import Path

from retrieval.registry import Registry, VersionRow
from retrieval.rollout.abandoned import give_up_abandoned
from retrieval.storage import ArtifactStore, write_manifest
from retrieval.storage.keys import build_key, version_key


def publish(store: ArtifactStore, key: str) -> None:
    staged = store.staging()
    (staged / "file").write_text("something", encoding="utf-8")
    write_manifest(staged, "something", {})
    store.publish(staged, key)


def test_what_was_in_the_making_for_too_long_is_given_up_and_what_lies_of_it_deleted(tmp_path: Path) -> None:
    registry = Registry.create("sqlite:///registry.db", root=tmp_path)
    store = ArtifactStore.create(str(tmp_path / "store"), cache=tmp_path / "cache")
    ready = registry.add_version(VersionRow(model="feed", version=1, space_id="s", key="models/feed/1"))
    reserved, empty = registry.reserve_version("feed"), registry.reserve_version("feed")
    building = registry.reserve_build(ready.id)
    for key in ("models/feed/1", version_key(reserved.id), build_key(building.id)):
        publish(store, key)
    assert give_up_abandoned(registry, store, "feed", older_than_s=3600) == []
    assert len(registry.list_versions("feed", states=["reserved"])) == 2

    assert give_up_abandoned(registry, store, "feed", older_than_s=0) == ["feed-b1", "feed@2", "feed@3"]
    assert store.keys("models/feed") == ["models/feed/1"]
    assert store.keys("builds/feed") == []
    assert [row.state for row in registry.list_versions("feed")] == ["ready", "failed", "failed"]
    assert empty.version == 3
    registry.close()
