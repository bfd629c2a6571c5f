"""The artifact store: immutable folders with manifests, on any pyarrow.fs URI.

A local store hands out its own folders. What a remote one (s3://, gs://) holds is copied, verified, into a local cache
first, so that readers always map plain files.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from retrieval.errors import ArtifactError, ConfigError, ConflictError, NotFoundError, UnavailableError
from retrieval.storage.atomic import clear_abandoned, is_staged, move, staged_folder, staged_name
from retrieval.storage.manifest import (
    MANIFEST,
    Manifest,
    check_digest,
    is_inside,
    parse_manifest,
    read_manifest,
    verify,
)
from retrieval.storage.resumable import resumable_folder


class ArtifactStore:
    """Publishes, opens, lists and deletes artifacts by key (`models/homefeed/12/user_tower`).

    Every method raises UnavailableError while the store can't be reached: a remote one away, a local folder missing.
    """

    def __init__(self, filesystem: pafs.FileSystem, base: str, cache: Path) -> None:
        self._filesystem = filesystem
        self._base = base.rstrip("/")
        self._cache = cache
        self._local = Path(base) if isinstance(filesystem, pafs.LocalFileSystem) else None

    @classmethod
    def open(cls, uri: str, *, cache: Path) -> ArtifactStore:
        """The store at `uri`; `cache` holds local copies of what a remote store has. Raises ConfigError.

        Nothing is made or looked at: a service starts, and goes on with the copies it has, while the store is away.
        """
        try:
            if "://" in uri:
                filesystem, base = pafs.FileSystem.from_uri(uri)
            else:
                filesystem, base = pafs.LocalFileSystem(), str(Path(uri).resolve())
        except (pa.ArrowException, ValueError, OSError) as error:
            raise ConfigError(
                f"store.uri {uri!r}: not a folder or pyarrow.fs URI that can be opened: {error}"
            ) from error
        if not base.strip("/"):
            raise ConfigError(f"store.uri {uri!r}: names no folder or bucket")
        return cls(filesystem, base, cache)

    @classmethod
    def create(cls, uri: str, *, cache: Path) -> ArtifactStore:
        """The store at `uri`, its folder made where there is none. A remote store's bucket is left to its owner.

        Raises ConfigError, UnavailableError.
        """
        store = cls.open(uri, cache=cache)
        store.make_folder()
        return store

    @property
    def uri(self) -> str:
        """Where the store is, for people to read."""
        return self._base if self._local else f"{self._filesystem.type_name}://{self._base}"

    def make_folder(self) -> None:
        """Make a local store's folder where there is none. Raises UnavailableError."""
        if self._local:
            try:
                self._local.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UnavailableError(f"the store {self.uri} can't be made: {error}") from error

    def staging(self) -> Path:
        """A fresh local folder to write an artifact into before it is published. Raises UnavailableError.

        It is removed some time after this process has ended.
        """
        root = self._staging_root()
        clear_abandoned(root)
        folder = root / staged_name()
        folder.mkdir()
        return folder

    @contextmanager
    def resumable_staging(self, name: str, *, others: str) -> Iterator[Path]:
        """A local folder to write an artifact into over several attempts, found again by `name`.

        Held by this process alone while the block runs; it stays when the block raises. Leftovers whose names begin
        with `others` are removed. Raises ConflictError while another process holds it, UnavailableError.
        """
        with resumable_folder(self._staging_root() / name, others=others) as folder:
            yield folder

    def _staging_root(self) -> Path:
        self._need_folder()
        root = (self._local or self._cache) / ".staging"
        root.mkdir(parents=True, exist_ok=True)
        return root

    def publish(self, staged: Path, key: str) -> Manifest:
        """Move a staged folder, its manifest written, to `key`. Raises ConflictError if something is there."""
        manifest = read_manifest(staged)
        if self.exists(key):
            raise ConflictError(f"{key} exists in {self.uri}; artifacts are never overwritten")
        if self._local:
            self._move(staged, self._local / key, key)
        else:
            with self._reaching(key):
                self._upload(staged, key)
            shutil.rmtree(staged)
        return manifest

    def exists(self, key: str) -> bool:
        """Whether a complete artifact (one with a manifest) is at `key`."""
        with self._reaching(key):
            info = self._filesystem.get_file_info(f"{self._at(key)}/{MANIFEST}")
        return bool(info.type == pafs.FileType.File)

    def manifest(self, key: str, *, kind: str | None = None, digest: str | None = None) -> Manifest:
        """The manifest at `key`, without the files (nothing is copied). Raises NotFoundError, ArtifactError."""
        path = f"{self._at(key)}/{MANIFEST}"
        with self._reaching(key):
            if not self.exists(key):
                raise NotFoundError(f"{key}: not in the store {self.uri}")
            with self._filesystem.open_input_stream(path) as file:
                raw = file.read()
        found = parse_manifest(raw, path, kind=kind)
        check_digest(found, digest, path)
        return found

    def keys(self, prefix: str) -> list[str]:
        """Keys of the complete artifacts directly below `prefix`, sorted."""
        selector = pafs.FileSelector(self._at(prefix), allow_not_found=True)
        with self._reaching(prefix):
            folders = [i.path for i in self._filesystem.get_file_info(selector) if i.type == pafs.FileType.Directory]
        found = [path.removeprefix(self._base).strip("/") for path in folders]
        return sorted(key for key in found if not key.rpartition("/")[2].startswith(".") and self.exists(key))

    def size(self, key: str) -> int:
        """Bytes of everything at `key`, complete or not; 0 where nothing is."""
        selector = pafs.FileSelector(self._at(key), recursive=True, allow_not_found=True)
        with self._reaching(key):
            return sum(int(info.size or 0) for info in self._filesystem.get_file_info(selector))

    def open_artifact(self, key: str, *, kind: str | None = None, digest: str | None = None) -> Path:
        """A local, fully verified folder of the artifact. Raises NotFoundError or ArtifactError."""
        folder = self.locate(key)
        try:
            verify(folder, kind=kind, digest=digest)
        except ArtifactError:
            if self._local:
                raise
            # the copy may have been damaged here while the store's own is sound
            shutil.rmtree(folder, ignore_errors=True)
            folder = self.locate(key)
            verify(folder, kind=kind, digest=digest)
        return folder

    def locate(self, key: str) -> Path:
        """A local folder of the artifact, its contents not yet checked. Raises NotFoundError."""
        if self._local:
            folder = Path(self._at(key))
            if not folder.is_dir():
                self._need_folder()
                raise NotFoundError(f"{key}: not in the store {self.uri}")
            return folder
        self._at(key)
        folder = self._cache / "artifacts" / key
        if not (folder / MANIFEST).is_file():
            with self._reaching(key):
                self._download(key, folder)
        return folder

    def delete(self, key: str) -> int:
        """Remove an artifact, or what an interrupted removal left of it. Returns the bytes freed. Raises NotFoundError

        Its manifest goes first, so that it is never seen half there.
        """
        root = self._at(key)
        with self._reaching(key):
            freed = self.size(key)
            if self._filesystem.get_file_info(root).type != pafs.FileType.Directory:
                raise NotFoundError(f"{key}: not in the store {self.uri}")
            if self.exists(key):
                self._filesystem.delete_file(f"{root}/{MANIFEST}")
            self._filesystem.delete_dir(root)
        shutil.rmtree(self._cache / "artifacts" / key, ignore_errors=True)
        return freed

    def forget_copies(self, prefix: str, *, keep: Collection[str] = ()) -> list[str]:
        """Remove local copies, directly below `prefix`, of what a remote store no longer has; returns their keys.

        Those of `keep` stay whatever the store says, and all do where it has nothing there: one that is away may look
        empty. A local store has no copies. What is mapped stays readable.
        """
        self._at(prefix)
        folder = self._cache / "artifacts" / prefix
        if self._local or not folder.is_dir():
            return []
        copies = [f"{prefix}/{path.name}" for path in folder.iterdir() if not is_staged(path.name)]
        stored = self.keys(prefix)
        gone = [key for key in sorted(copies) if stored and key not in stored and key not in keep]
        for key in gone:
            shutil.rmtree(self._cache / "artifacts" / key, ignore_errors=True)
        return gone

    def _at(self, key: str) -> str:
        if not is_inside(key):
            raise ArtifactError(f"{key!r} is not a key; expected the form 'models/homefeed/12'")
        return f"{self._base}/{key}"

    def _need_folder(self) -> None:
        """Raise UnavailableError where the folder of a local store is missing; it is not made in passing."""
        if self._local and not self._local.is_dir():
            raise UnavailableError(
                f"the store {self.uri} is missing: put the folder back if it was moved; "
                "`retrieval upgrade` makes a new, empty one"
            )

    @contextmanager
    def _reaching(self, key: str) -> Iterator[None]:
        self._need_folder()
        try:
            yield
        except OSError as error:
            raise UnavailableError(f"{key}: the store {self.uri} can't be reached or written now: {error}") from error

    def _move(self, staged: Path, target: Path, key: str) -> None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if self._same_device(staged, target.parent):
                move(staged, target)
            else:
                self._move_across(staged, target)
        except FileExistsError as error:
            raise ConflictError(f"{key}: something is there in {self.uri}; artifacts are never overwritten") from error
        except OSError as error:
            raise UnavailableError(f"{key}: can't be moved into the store {self.uri}: {error}") from error

    @staticmethod
    def _same_device(one: Path, other: Path) -> bool:
        return one.stat().st_dev == other.stat().st_dev

    def _move_across(self, staged: Path, target: Path) -> None:
        with staged_folder(target) as copy:
            shutil.copytree(staged, copy, dirs_exist_ok=True)
            verify(copy)
        shutil.rmtree(staged)

    def _upload(self, staged: Path, key: str) -> None:
        paths = sorted(p for p in staged.rglob("*") if p.is_file())
        paths.sort(key=lambda p: (p.name == MANIFEST, -len(p.parts)))  # manifests last, the outermost very last
        local = pafs.LocalFileSystem()
        for path in paths:
            target = f"{self._base}/{key}/{path.relative_to(staged).as_posix()}"
            self._filesystem.create_dir(target.rpartition("/")[0], recursive=True)
            pafs.copy_files(str(path), target, source_filesystem=local, destination_filesystem=self._filesystem)

    def _download(self, key: str, folder: Path) -> None:
        if not self.exists(key):
            raise NotFoundError(f"{key}: not in the store {self.uri}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with staged_folder(folder, existing="keep") as copy:  # another process may be faster with the same copy
            pafs.copy_files(
                f"{self._base}/{key}",
                str(copy),
                source_filesystem=self._filesystem,
                destination_filesystem=pafs.LocalFileSystem(),
            )
            verify(copy)
            if not (folder / MANIFEST).is_file():
                # no manifest: what stands there is no copy, at most a folder that holds others
                shutil.rmtree(folder, ignore_errors=True)
