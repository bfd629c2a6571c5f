"""Manifests: what an artifact consists of, with the size and SHA-256 of every file, written last.

A folder with a MANIFEST.json is an artifact. One artifact may hold others in sub-folders; its manifest then lists
their MANIFEST.json in place of their files, so that a single digest stands for the whole tree.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from retrieval.errors import ArtifactError
from retrieval.storage.atomic import clear_abandoned, flush, is_staged, write_text

MANIFEST = "MANIFEST.json"
FORMAT = 1
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size in bytes and SHA-256 (hex) of one file."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What MANIFEST.json holds: the artifact's kind, what went into it (`facts`), and its files by relative path."""

    kind: str
    created: str
    facts: Mapping[str, Any]
    files: Mapping[str, FileRecord]
    digest: str
    """SHA-256 of the MANIFEST.json file itself."""


def write_manifest(folder: Path, kind: str, facts: Mapping[str, Any]) -> Manifest:
    """Flush every file below `folder` to disk, then write its MANIFEST.json (atomically, as the last thing)."""
    clear_abandoned(folder)
    files: dict[str, dict[str, Any]] = {}
    for path in _members(folder):
        flush(path)
        size, sha256 = hash_file(path)
        files[path.relative_to(folder).as_posix()] = {"size": size, "sha256": sha256}
    body = {
        "format": FORMAT,
        "kind": kind,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "facts": dict(facts),
        "files": files,
    }
    for inner in sorted(path for path in folder.rglob("*") if path.is_dir()):
        flush(inner)
    write_text(folder / MANIFEST, json.dumps(body, indent=1, sort_keys=True))
    return read_manifest(folder)


def read_manifest(folder: Path, *, kind: str | None = None) -> Manifest:
    """Read a folder's manifest. Raises ArtifactError where it is missing, damaged or of another kind."""
    path = folder / MANIFEST
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{folder}: no readable {MANIFEST}: incomplete, or not an artifact ({error})") from error
    return parse_manifest(raw, str(path), kind=kind)


def parse_manifest(raw: bytes, path: str, *, kind: str | None = None) -> Manifest:
    """The manifest that the bytes of a MANIFEST.json hold; `path` names it in errors. Raises ArtifactError."""
    try:
        body = json.loads(raw)
        if body["format"] != FORMAT:
            raise ArtifactError(f"{path}: format {body['format']!r}, this program reads format {FORMAT}")
        files = {str(name): FileRecord(int(f["size"]), str(f["sha256"])) for name, f in body["files"].items()}
        facts = dict(body["facts"].items())
        manifest = Manifest(str(body["kind"]), str(body["created"]), facts, files, hashlib.sha256(raw).hexdigest())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError(f"{path}: damaged manifest: {type(error).__name__}: {error}") from error
    if kind is not None and manifest.kind != kind:
        raise ArtifactError(f"{path}: an artifact of kind {manifest.kind!r}, expected {kind!r}")
    for name in files:
        if not is_inside(name) or name == MANIFEST:
            raise ArtifactError(f"{path}: damaged manifest: file name {name!r} leads out of the artifact")
    return manifest


def verify(folder: Path, *, kind: str | None = None, digest: str | None = None) -> Manifest:
    """Check size and SHA-256 of every file against the manifest, in nested artifacts too.

    With `digest`, the manifest itself must be the one recorded elsewhere. Raises ArtifactError naming the file.
    """
    manifest = read_manifest(folder, kind=kind)
    check_digest(manifest, digest, str(folder / MANIFEST))
    for name, record in manifest.files.items():
        path = folder / name
        try:
            size, sha256 = hash_file(path)
        except OSError as error:
            raise ArtifactError(f"{path}: listed in {MANIFEST} but can't be read: {error}") from error
        if size != record.size:
            raise ArtifactError(f"{path}: {size} bytes, {MANIFEST} says {record.size}: truncated or overwritten")
        if sha256 != record.sha256:
            raise ArtifactError(f"{path}: SHA-256 {sha256}, {MANIFEST} says {record.sha256}: damaged or swapped")
        if path.name == MANIFEST:
            verify(path.parent)
    unlisted = {path.relative_to(folder).as_posix() for path in _members(folder)} - manifest.files.keys()
    if unlisted:
        raise ArtifactError(f"{folder / min(unlisted)}: not listed in {MANIFEST}: not part of this artifact")
    return manifest


def check_digest(manifest: Manifest, digest: str | None, path: str) -> None:
    """Raise ArtifactError if the manifest is not the one whose SHA-256 was recorded elsewhere; None leaves it open."""
    if digest is not None and manifest.digest != digest:
        raise ArtifactError(
            f"{path}: not the manifest that was recorded (SHA-256 {manifest.digest}, expected {digest})"
        )


def is_inside(name: str) -> bool:
    """Whether a relative name with / between its parts stays inside the folder that it is relative to."""
    parts = name.split("/")
    return all(part not in {"", ".", ".."} for part in parts) and "\\" not in name and "\0" not in name


def hash_file(path: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256 (hex) of a file, read in blocks."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def _members(folder: Path) -> Iterator[Path]:
    """Files that a manifest lists: all below `folder`, nested artifacts represented by their manifest."""
    for path in sorted(folder.iterdir()):
        if path.name == MANIFEST or is_staged(path.name):
            continue
        if not path.is_dir():
            yield path
        elif (path / MANIFEST).is_file():
            yield path / MANIFEST
        else:
            yield from _members(path)
