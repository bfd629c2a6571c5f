from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

from retrieval.errors import ArtifactError, ConfigError, ConflictError, NotFoundError, UnavailableError
from retrieval.storage import MANIFEST, ArtifactStore, StoreConfig, write_manifest

KEY = "models/feed/1"


@pytest.fixture(params=["local", "subtree", "mock"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """A local store, and two that are reached like remote ones."""
    cache = tmp_path / "cache"
    if request.param == "local":
        return ArtifactStore.create(str(tmp_path / "store"), cache=cache)
    if request.param == "mock":
        return ArtifactStore(pafs._MockFileSystem(), "bucket/prefix", cache)
    (tmp_path / "remote").mkdir()
    return ArtifactStore(pafs.SubTreeFileSystem(str(tmp_path / "remote"), pafs.LocalFileSystem()), "bucket", cache)


@pytest.fixture
def remote(tmp_path: Path) -> ArtifactStore:
    (tmp_path / "remote").mkdir()
    return ArtifactStore(
        pafs.SubTreeFileSystem(str(tmp_path / "remote"), pafs.LocalFileSystem()), "bucket", tmp_path / "cache"
    )


@pytest.fixture
def local(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore.create(str(tmp_path / "store"), cache=tmp_path / "cache")


def stage(store: ArtifactStore, text: str = "tower") -> Path:
    folder = store.staging()
    (folder / "user_tower").mkdir()
    (folder / "user_tower" / "model.onnx").write_text(text)
    write_manifest(folder / "user_tower", "user_tower", {})
    (folder / "notes.txt").write_text("notes")
    write_manifest(folder, "model_version", {"text": text})
    return folder


def test_what_is_published_can_be_opened_listed_and_deleted(store: ArtifactStore) -> None:
    assert not store.exists(KEY)
    assert store.keys("models/feed") == []
    staged = stage(store)
    manifest = store.publish(staged, KEY)
    assert not staged.exists()
    folder = store.open_artifact(KEY, kind="model_version", digest=manifest.digest)
    assert (folder / "user_tower" / "model.onnx").read_text() == "tower"
    assert (store.open_artifact(f"{KEY}/user_tower", kind="user_tower") / "model.onnx").read_text() == "tower"
    assert store.manifest(KEY, kind="model_version", digest=manifest.digest) == manifest
    assert store.keys("models/feed") == [KEY]
    assert store.keys(KEY) == [f"{KEY}/user_tower"]
    size = store.size(KEY)
    assert size > len("tower")
    assert store.delete(KEY) == size
    assert not store.exists(KEY)
    assert store.size(KEY) == 0
    for missing in (store.open_artifact, store.locate, store.manifest, store.delete):
        with pytest.raises(NotFoundError, match=KEY):
            missing(KEY)


def test_nothing_is_ever_overwritten(store: ArtifactStore) -> None:
    first = store.publish(stage(store, "first"), KEY)
    staged = stage(store, "second")
    with pytest.raises(ConflictError, match="never overwritten"):
        store.publish(staged, KEY)
    assert store.manifest(KEY) == first
    assert (staged / MANIFEST).exists()  # what was staged is still the caller's


def test_what_has_no_manifest_is_not_published(store: ArtifactStore) -> None:
    folder = store.staging()
    (folder / "model").write_text("half")
    with pytest.raises(ArtifactError, match="incomplete"):
        store.publish(folder, KEY)
    assert store.size(KEY) == 0


def test_an_incomplete_upload_is_not_there(store: ArtifactStore) -> None:
    store.publish(stage(store), KEY)
    store._filesystem.delete_file(f"{store._base}/{KEY}/{MANIFEST}")
    assert not store.exists(KEY)
    assert store.keys("models/feed") == []
    with pytest.raises((NotFoundError, ArtifactError)):
        store.open_artifact(KEY)
    assert store.delete(KEY) > 0  # what an interrupted removal left can still be removed
    assert store.size(KEY) == 0


def test_another_digest_or_kind_is_refused(store: ArtifactStore) -> None:
    store.publish(stage(store), KEY)
    for opened in (store.open_artifact, store.manifest):
        with pytest.raises(ArtifactError, match="expected 'index_build'"):
            opened(KEY, kind="index_build")
        with pytest.raises(ArtifactError, match="not the manifest that was recorded"):
            opened(KEY, digest="0" * 64)


@pytest.mark.parametrize("key", ["", "..", "../x", "/etc", "a//b", "a/../../b", "a/."])
def test_a_key_that_leads_out_of_the_store_is_refused(store: ArtifactStore, key: str) -> None:
    for call in (store.exists, store.locate, store.manifest, store.delete, store.keys, store.size):
        with pytest.raises(ArtifactError, match="is not a key"):
            call(key)
    with pytest.raises(ArtifactError, match="is not a key"):
        store.publish(stage(store), key)


def test_damage_in_the_store_is_refused_by_name(tmp_path: Path, local: ArtifactStore) -> None:
    local.publish(stage(local), KEY)
    (tmp_path / "store" / KEY / "user_tower" / "model.onnx").write_text("towel")
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        local.open_artifact(KEY)


def test_damage_in_a_remote_store_leaves_nothing_in_the_cache(tmp_path: Path, remote: ArtifactStore) -> None:
    remote.publish(stage(remote), KEY)
    (tmp_path / "remote" / "bucket" / KEY / "user_tower" / "model.onnx").write_text("towel")
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        remote.open_artifact(KEY)
    assert not any(path.is_file() for path in (tmp_path / "cache" / "artifacts").rglob("*"))


def test_a_damaged_copy_in_the_cache_is_fetched_again(remote: ArtifactStore) -> None:
    remote.publish(stage(remote), KEY)
    copy = remote.open_artifact(KEY)
    (copy / "user_tower" / "model.onnx").write_text("towel")
    assert (remote.open_artifact(KEY) / "user_tower" / "model.onnx").read_text() == "tower"


def test_a_copy_in_the_cache_serves_while_the_store_is_away(tmp_path: Path, remote: ArtifactStore) -> None:
    remote.publish(stage(remote), KEY)
    remote.open_artifact(KEY)
    (tmp_path / "remote").rename(tmp_path / "gone")
    assert (remote.open_artifact(KEY) / "notes.txt").read_text() == "notes"


def test_copies_of_what_the_store_no_longer_has_are_removed(tmp_path: Path, remote: ArtifactStore) -> None:
    keys = [f"builds/feed/{number}" for number in (1, 2, 3)]
    for key in keys:
        remote.publish(stage(remote), key)
        remote.open_artifact(key)
    elsewhere = ArtifactStore(remote._filesystem, "bucket", tmp_path / "another machine")
    for key in keys[:2]:
        elsewhere.delete(key)
    assert remote.forget_copies("builds/feed", keep=[keys[0]]) == [keys[1]]
    assert (remote.open_artifact(keys[0]) / "notes.txt").read_text() == "notes"
    assert remote.forget_copies("builds/feed") == [keys[0]]
    assert remote.forget_copies("builds/other") == []
    assert (remote.open_artifact(keys[2]) / "notes.txt").read_text() == "notes"
    (tmp_path / "remote").rename(tmp_path / "gone")
    assert remote.forget_copies("builds/feed") == []
    assert (remote.open_artifact(keys[2]) / "notes.txt").read_text() == "notes"


def test_several_that_fetch_at_once_get_one_copy(tmp_path: Path, remote: ArtifactStore) -> None:
    remote.publish(stage(remote), KEY)
    with ThreadPoolExecutor(6) as pool:
        folders = list(pool.map(lambda _: remote.open_artifact(KEY), range(6)))
    assert len({*folders}) == 1
    assert sorted(path.name for path in (tmp_path / "cache" / "artifacts" / "models" / "feed").iterdir()) == ["1"]


def test_of_several_that_publish_at_once_one_wins(local: ArtifactStore) -> None:
    staged = [stage(local, f"text {number}") for number in range(6)]

    def publish(folder: Path) -> bool:
        try:
            local.publish(folder, KEY)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(publish, staged)) == 1
    local.open_artifact(KEY)


def test_publishing_across_file_systems_copies_and_verifies(
    tmp_path: Path, local: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = stage(local)
    monkeypatch.setattr(ArtifactStore, "_same_device", lambda *_: False)
    local.publish(elsewhere, KEY)
    assert not elsewhere.exists()
    local.open_artifact(KEY)
    assert [path.name for path in (tmp_path / "store" / "models" / "feed").iterdir()] == ["1"]


def test_staging_by_name_is_found_again(store: ArtifactStore) -> None:
    with store.resumable_staging("index-feed-1", others="index-feed-") as folder:
        (folder / "part").write_text("done")
    with store.resumable_staging("index-feed-1", others="index-feed-") as folder:
        assert (folder / "part").read_text() == "done"
        assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == ["index-feed-1"]
    assert not list(folder.parent.glob("*.lock"))
    with store.resumable_staging("index-feed-2", others="index-feed-"):
        assert not folder.exists()
    assert store.staging() != store.staging()


def test_staging_is_on_the_file_system_of_a_local_store_and_not_listed(local: ArtifactStore, tmp_path: Path) -> None:
    staged = stage(local)
    assert staged.is_relative_to(tmp_path / "store")
    (tmp_path / "store" / "models" / ".half").mkdir(parents=True)
    write_manifest(tmp_path / "store" / "models" / ".half", "x", {})
    assert local.keys("models") == []


def test_the_store_may_stand_at_a_uri(tmp_path: Path) -> None:
    store = ArtifactStore.create(f"file://{tmp_path}/store", cache=tmp_path / "cache")
    store.publish(stage(store), KEY)
    assert (tmp_path / "store" / KEY / MANIFEST).is_file()
    assert store.uri == f"{tmp_path}/store"


@pytest.mark.parametrize("uri", ["nonsense://x", "file:///", "/", "://"])
def test_a_uri_that_cannot_be_opened_is_a_wrong_setting(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ConfigError, match=r"store\.uri"):
        ArtifactStore.open(uri, cache=tmp_path)


def test_the_setting_has_a_default() -> None:
    assert StoreConfig().uri == "store"


class Away(pafs.FileSystemHandler):  # type: ignore[misc]
    """A file system that answers nothing."""

    def __getattribute__(self, name: str) -> Any:
        if name in {"get_file_info", "get_file_info_selector", "open_input_stream", "create_dir", "delete_dir"}:
            return self._refuse
        return super().__getattribute__(name)

    def _refuse(self, *_: object) -> None:
        raise OSError("network is down")


for _name in Away.__abstractmethods__:
    setattr(Away, _name, lambda *_: "away")
Away.__abstractmethods__ = frozenset()


def test_a_store_that_is_away_is_unavailable(tmp_path: Path) -> None:
    store = ArtifactStore(pafs.PyFileSystem(Away()), "bucket", tmp_path / "cache")
    for call in (store.exists, store.locate, store.manifest, store.delete, store.keys, store.size):
        with pytest.raises(UnavailableError, match="network is down"):
            call(KEY)
    with pytest.raises(UnavailableError, match="network is down"):
        store.publish(stage(store), KEY)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_that_cannot_be_written_is_unavailable(tmp_path: Path, local: ArtifactStore) -> None:
    staged = stage(local)
    (tmp_path / "store" / "models").mkdir()
    (tmp_path / "store" / "models").chmod(0o500)
    with pytest.raises(UnavailableError, match="can't be moved"):
        local.publish(staged, KEY)


def test_a_local_store_that_is_missing_is_unavailable_and_not_made(tmp_path: Path, local: ArtifactStore) -> None:
    local.publish(stage(local), KEY)
    staged = stage(local)
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    reader = ArtifactStore.open(str(tmp_path / "store"), cache=tmp_path / "cache")
    for store in (local, reader):
        calls = (store.exists, store.locate, store.open_artifact, store.manifest, store.delete, store.keys, store.size)
        for call in calls:
            with pytest.raises(UnavailableError, match="is missing: put the folder back"):
                call(KEY)
        with pytest.raises(UnavailableError, match="retrieval upgrade"):
            store.staging()
    assert not (tmp_path / "store").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "store")
    assert (reader.open_artifact(KEY) / "notes.txt").read_text() == "notes"
    local.publish(staged, "models/feed/2")
