"""A record of the shards that were verified here, so that opening one again does not read every byte again.

Why that still is "a reader verifies before it exposes anything": for each shard the record holds the digest of its
manifest and, of every file in its folder, size, times of modification and change, inode and device, as they were
before every byte was read and still were afterwards. The kernel sets the time of change whenever a file is written to,
replaced, truncated or touched, and a writer can't set it back. Files that
are just so are those whose bytes were verified.

What it does not catch: bits that rot on the disk after they were verified (a shard that stays open is not read again
either); a writer that had the file mapped for writing all along; an administrator who turns back the clock. The record
is no part of the artifact: it lies with what a host remembers, and without it everything is verified again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from retrieval import __version__
from retrieval.storage import read_manifest
from retrieval.storage.atomic import write_bytes

FORMAT = 1
# A file that was changed so shortly before it was verified could change again and keep its times, where a file system
# counts them in steps (up to 2 s)
_SETTLED_NS = 2_000_000_000

_log = logging.getLogger(__name__)
FileState = tuple[int, int, int, int, int]
"""Size in bytes, modification and change in ns since 1970, inode, device."""


@dataclass(frozen=True, slots=True)
class ShardState:
    """What a shard's folder is made of: its manifest's digest and the state of every file by relative path."""

    digest: str
    files: Mapping[str, FileState]


def shard_state(folder: Path) -> ShardState:
    """The state of `folder` now. Raises ArtifactError without a readable manifest, OSError where a file is gone."""
    files = {}
    for path in folder.rglob("*"):
        facts = path.stat()
        name = path.relative_to(folder).as_posix()
        files[name] = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino, facts.st_dev)
    return ShardState(read_manifest(folder).digest, files)


class VerifiedShards:
    """The record, one small file per shard in `folder`. Processes may share it; thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def holds(self, shard: Path, state: ShardState) -> bool:
        """Whether `shard` was verified in just this state, by this version of the program."""
        try:
            told = self._path(shard).read_bytes()
        except OSError:
            return False
        return told == _record(shard, state)

    def remember(self, shard: Path, state: ShardState, *, since_ns: int) -> None:
        """Record that `shard` was verified in `state`, its reading begun at `since_ns` (ns since 1970).

        Nothing is recorded where a file changed too shortly before that. A disk that can't be written to is logged,
        no more. Records of folders that are gone are removed.
        """
        if max((changed for _, _, changed, _, _ in state.files.values()), default=0) > since_ns - _SETTLED_NS:
            return
        path = self._path(shard)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_bytes(path, _record(shard, state), durable=False)
            self._forget_what_is_gone()
        except OSError as error:
            _log.warning("can't remember in %s that %s was verified: %s", path, shard, error)

    def forget(self, shard: Path) -> None:
        """Remove the record of `shard`, if there is one."""
        try:
            self._path(shard).unlink(missing_ok=True)
        except OSError as error:
            _log.warning("can't forget in %s that %s was verified: %s", self._folder, shard, error)

    def _path(self, shard: Path) -> Path:
        return self._folder / f"{hashlib.sha256(str(shard.resolve()).encode()).hexdigest()[:32]}.json"

    def _forget_what_is_gone(self) -> None:
        for path in self._folder.glob("*.json"):
            try:
                there = Path(json.loads(path.read_bytes())["shard"]).is_dir()
            except (OSError, ValueError, KeyError, TypeError):
                there = False
            if not there:
                path.unlink(missing_ok=True)


def _record(shard: Path, state: ShardState) -> bytes:
    """The one record that stands for this state: any other bytes, torn or not, stand for none."""
    body = {
        "format": FORMAT,
        "code_version": __version__,
        "shard": str(shard.resolve()),
        "manifest": state.digest,
        "files": {name: list(facts) for name, facts in state.files.items()},
    }
    return json.dumps(body, indent=1, sort_keys=True).encode()
