"""Where everything lies in the artifact store: every key and folder name is made here.

models/<name>/<version>/{user_tower,item_tower,features}/…
builds/<name>/<build>/shard-<i>-of-<n>/…
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from retrieval.types import BuildId, ModelVersion


def version_key(version: ModelVersion) -> str:
    """The key of a model version, as in `models/homefeed/12`."""
    return f"models/{version.model}/{version.version}"


def half_key(key: str, kind: str) -> str:
    """The key of one half of the version at `key`, as in `models/homefeed/12/user_tower`; its kind is its name."""
    return f"{key}/{kind}"


def build_key(build: BuildId) -> str:
    """The key of an index build, as in `builds/homefeed/3`."""
    return f"{builds_prefix(build.model)}/{build.number}"


def builds_prefix(model: str) -> str:
    """What the keys of all builds of a model begin with, as in `builds/homefeed`."""
    return f"builds/{model}"


def shard_name(shard: int, shards: int) -> str:
    """The name of a shard's folder in its build, as in `shard-0-of-4`."""
    return f"shard-{shard}-of-{shards}"


def shard_folders(build: Path) -> Iterator[Path]:
    """The folders of a build's shards, in order."""
    found = build.glob("shard-*-of-*")
    yield from sorted(found, key=lambda folder: int(folder.name.split("-")[1]))
