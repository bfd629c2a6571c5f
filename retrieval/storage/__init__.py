"""Where artifacts live: an immutable, verified store on any pyarrow.fs URI."""

from retrieval.storage.manifest import (
    MANIFEST,
    FileRecord,
    Manifest,
    check_digest,
    hash_file,
    read_manifest,
    verify,
    write_manifest,
)
from retrieval.storage.store import ArtifactStore, StoreConfig

__all__ = [
    "MANIFEST",
    "ArtifactStore",
    "FileRecord",
    "Manifest",
    "StoreConfig",
    "check_digest",
    "hash_file",
    "read_manifest",
    "verify",
    "write_manifest",
]
