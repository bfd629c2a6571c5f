"""Where artifacts live: an immutable, verified store on any pyarrow.fs URI."""

from typing import TYPE_CHECKING

from retrieval.lazy import lazy_names

if TYPE_CHECKING:
    from retrieval.storage.config import StoreConfig
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
    from retrieval.storage.store import ArtifactStore

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

__getattr__ = lazy_names(
    __name__,
    {
        "retrieval.storage.manifest": (
            "MANIFEST",
            "FileRecord",
            "Manifest",
            "check_digest",
            "hash_file",
            "read_manifest",
            "verify",
            "write_manifest",
        ),
        "retrieval.storage.config": ("StoreConfig",),
        "retrieval.storage.store": ("ArtifactStore",),
    },
)
