"""What a shard says about itself (metadata.json): which space its vectors are of, which part of which build it is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from retrieval.errors import ArtifactError
from retrieval.types import BuildId, ModelVersion, SpaceId

FILE = "metadata.json"
FORMAT = 3  # 2: with items.lookup; 3: with fingerprints.npy, at_us, linked, linked_recall


@dataclass(frozen=True, slots=True)
class ShardMetadata:
    """Metadata of one shard. `recall` is recall@`measured_k` at `ef_search` against exact search, when it was built.

    Its items are as they were known at `at_us` (µs). Where it took over the leaves of an earlier build,
    `linked` is false; `linked_recall` is the canary recall when vectors were linked last.
    """

    model: str
    version: int
    space_id: str
    build: int
    shard: int
    shards: int
    dim: int
    metric: str
    normalised: bool
    count: int
    backend: str
    M: int
    ef_construction: int
    ef_search: int
    recall: float
    measured_k: int
    canary_recall: float
    linked: bool
    linked_recall: float
    at_us: int
    created: str

    @property
    def model_version(self) -> ModelVersion:
        """The model version whose item tower made the vectors."""
        return ModelVersion(self.model, self.version)

    @property
    def build_id(self) -> BuildId:
        """The index build that the shard is part of."""
        return BuildId(self.model, self.build)

    @property
    def space(self) -> SpaceId:
        """The embedding space of the vectors."""
        return SpaceId(self.space_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedShard:
    """What a reader asks a shard to be; None leaves a point open."""

    model: str | None = None
    version: int | None = None
    space_id: str | None = None
    build: int | None = None
    shard: int | None = None
    shards: int | None = None
    dim: int | None = None
    digest: str | None = None
    """SHA-256 of the shard's MANIFEST.json, where it was recorded."""


def write_metadata(folder: Path, metadata: ShardMetadata) -> None:
    """Write `folder`/metadata.json."""
    body = {"format": FORMAT, **asdict(metadata)}
    (folder / FILE).write_text(json.dumps(body, indent=1, sort_keys=True), encoding="utf-8")


def read_metadata(folder: Path) -> ShardMetadata:
    """Read and check `folder`/metadata.json. Raises ArtifactError that names the file and the field."""
    path = folder / FILE
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: can't be read as JSON: {error}") from error
    found = body.pop("format", None) if isinstance(body, dict) else None
    if found != FORMAT:
        raise ArtifactError(
            f"{path}: shard of format {found!r}, this program reads format {FORMAT}: "
            "build the index again, or serve it with the program that built it"
        )
    names = {field.name for field in fields(ShardMetadata)}
    if names != body.keys():
        raise ArtifactError(f"{path}: fields {sorted(names ^ body.keys())} are missing or unknown")
    for field in fields(ShardMetadata):
        body[field.name] = _typed(path, field.name, str(field.type), body[field.name])
    metadata = ShardMetadata(**body)
    _check_ranges(path, metadata)
    return metadata


def check_expected(folder: Path, metadata: ShardMetadata, expected: ExpectedShard) -> None:
    """Raise ArtifactError if the shard is another than `expected`."""
    for field in fields(expected):
        want = getattr(expected, field.name)
        if want is None or field.name == "digest":
            continue
        have = getattr(metadata, field.name)
        if have != want:
            raise ArtifactError(f"{folder / FILE}: {field.name} is {have!r}, expected {want!r}: another artifact")


_TYPES: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "float": (int, float), "bool": bool}


def _typed(path: Path, name: str, kind: str, value: Any) -> Any:
    right = isinstance(value, _TYPES[kind]) and (kind == "bool" or not isinstance(value, bool))
    if not right:
        raise ArtifactError(f"{path}: {name} is {value!r}, expected {kind}")
    return float(value) if kind == "float" else value


def _check_ranges(path: Path, metadata: ShardMetadata) -> None:
    checks = {
        "shard": 0 <= metadata.shard < metadata.shards,
        "dim": 1 <= metadata.dim <= 65536,
        "count": 0 <= metadata.count < 2**31,
        "metric": metadata.metric == "cosine",
        "normalised": metadata.normalised,
        "M": 2 <= metadata.M <= 4096,
        "ef_construction": 1 <= metadata.ef_construction < 2**31,
        "ef_search": 1 <= metadata.ef_search < 2**31,
        "measured_k": 1 <= metadata.measured_k < 2**31,
        "recall": 0.0 <= metadata.recall <= 1.0,
        "canary_recall": 0.0 <= metadata.canary_recall <= 1.0,
        "linked_recall": 0.0 <= metadata.linked_recall <= 1.0,
    }
    for name, right in checks.items():
        if not right:
            raise ArtifactError(f"{path}: {name} is {getattr(metadata, name)!r}, out of what is possible")
