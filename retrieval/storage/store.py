"""The artifact store: immutable folders with manifests, on any pyarrow.fs URI.

A local store hands out its own folders. What a remote one (s3://, gs://) holds is copied, verified, into a local cache
first, so that readers always map plain files.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
from pydantic import Field

from retrieval.config import Section
from retrieval.errors import ArtifactError, ConfigError, ConflictError, NotFoundError
from retrieval.storage.manifest import MANIFEST, Manifest, read_manifest, verify


class StoreConfig(Section):
    """`[store]`: where artifacts live."""

    uri: str = Field(
        "store",
        min_length=1,
        description="A folder (relative ones are under the workspace) or a pyarrow.fs URI such as s3://bucket/prefix.",
    )


class ArtifactStore:
    """Publishes, opens, lists and deletes artifacts by key (`models/homefeed/12/user_tower`)."""

    def __init__(self, filesystem: pafs.FileSystem, base: str, cache: Path) -> None:
        self._filesystem = filesystem
        self._base = base.rstrip("/")
        self._cache = cache
        self._local = Path(base) if isinstance(filesystem, pafs.LocalFileSystem) else None

    @classmethod
    def open(cls, uri: str, *, cache: Path) -> ArtifactStore:
        """Open the store at `uri`; `cache` holds local copies of what a remote store has. Raises ConfigError."""
        try:
            if "://" in uri:
                filesystem, base = pafs.FileSystem.from_uri(uri)
            else:
                filesystem, base = pafs.LocalFileSystem(), str(Path(uri).resolve())
        except (pa.ArrowException, ValueError, OSError) as error:
            raise ConfigError(
                f"store.uri {uri!r}: not a folder or pyarrow.fs URI that can be opened: {error}"
            ) from error
        return cls(filesystem, base, cache)

    @property
    def uri(self) -> str:
        """Where the store is, for people to read."""
        return self._base if self._local else f"{self._filesystem.type_name}://{self._base}"

    def staging(self, name: str | None = None) -> Path:
        """A local folder to write an artifact into before it is published; fresh, unless a `name` finds it again."""
        root = (self._local or self._cache) / ".staging"
        folder = root / (name or uuid.uuid4().hex)
        folder.mkdir(parents=True, exist_ok=name is not None)
        return folder

    def publish(self, staged: Path, key: str) -> Manifest:
        """Move a staged folder, its manifest written, to `key`. Raises ConflictError if something is there."""
        manifest = read_manifest(staged)
        if self.exists(key):
            raise ConflictError(f"{key} exists in {self.uri}; artifacts are never overwritten")
        if self._local:
            target = self._local / key
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                staged.rename(target)
            except OSError:
                self._move_across(staged, target)
            return manifest
        self._upload(staged, key)
        return manifest

    def exists(self, key: str) -> bool:
        """Whether a complete artifact (one with a manifest) is at `key`."""
        info = self._filesystem.get_file_info(f"{self._base}/{key}/{MANIFEST}")
        return bool(info.type == pafs.FileType.File)

    def keys(self, prefix: str) -> list[str]:
        """Keys of the complete artifacts directly below `prefix`, sorted."""
        selector = pafs.FileSelector(f"{self._base}/{prefix}", allow_not_found=True)
        folders = [i.path for i in self._filesystem.get_file_info(selector) if i.type == pafs.FileType.Directory]
        found = [path.removeprefix(self._base).strip("/") for path in folders]
        return sorted(key for key in found if self.exists(key))

    def open_artifact(self, key: str, *, kind: str | None = None, digest: str | None = None) -> Path:
        """A local, fully verified folder of the artifact. Raises NotFoundError or ArtifactError."""
        folder = self.locate(key)
        verify(folder, kind=kind, digest=digest)
        return folder

    def locate(self, key: str) -> Path:
        """A local folder of the artifact, its contents not yet checked. Raises NotFoundError."""
        if self._local:
            folder = self._local / key
            if not folder.is_dir():
                raise NotFoundError(f"{key}: not in the store {self.uri}")
            return folder
        folder = self._cache / "artifacts" / key
        if not (folder / MANIFEST).is_file():
            self._download(key, folder)
        return folder

    def delete(self, key: str) -> int:
        """Remove an artifact, its manifest first so that it is never seen half there. Returns the bytes freed."""
        if not self.exists(key):
            raise NotFoundError(f"{key}: not in the store {self.uri}")
        root = f"{self._base}/{key}"
        freed = sum(i.size or 0 for i in self._filesystem.get_file_info(pafs.FileSelector(root, recursive=True)))
        self._filesystem.delete_file(f"{root}/{MANIFEST}")
        self._filesystem.delete_dir(root)
        shutil.rmtree(self._cache / "artifacts" / key, ignore_errors=True)
        return int(freed)

    def _move_across(self, staged: Path, target: Path) -> None:
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        shutil.copytree(staged, partial)
        verify(partial)
        partial.rename(target)
        shutil.rmtree(staged)

    def _upload(self, staged: Path, key: str) -> None:
        paths = sorted(p for p in staged.rglob("*") if p.is_file())
        paths.sort(key=lambda p: (p.name == MANIFEST, -len(p.parts)))  # manifests last, the outermost very last
        local = pafs.LocalFileSystem()
        for path in paths:
            target = f"{self._base}/{key}/{path.relative_to(staged).as_posix()}"
            self._filesystem.create_dir(target.rpartition("/")[0], recursive=True)
            pafs.copy_files(str(path), target, source_filesystem=local, destination_filesystem=self._filesystem)
        shutil.rmtree(staged)

    def _download(self, key: str, folder: Path) -> None:
        if not self.exists(key):
            raise NotFoundError(f"{key}: not in the store {self.uri}")
        partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
        partial.mkdir(parents=True)
        pafs.copy_files(
            f"{self._base}/{key}",
            str(partial),
            source_filesystem=self._filesystem,
            destination_filesystem=pafs.LocalFileSystem(),
        )
        try:
            verify(partial)
        except ArtifactError:
            shutil.rmtree(partial)
            raise
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
