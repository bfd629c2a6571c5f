from __future__ import annotations

from pathlib import Path

from retrieval.storage.keys import build_key, half_key, shard_folders, shard_name, version_key
from retrieval.types import BuildId, ModelVersion


def test_keys_are_those_of_the_format() -> None:
    assert version_key(ModelVersion("homefeed", 12)) == "models/homefeed/12"
    assert half_key("models/homefeed/12", "user_tower") == "models/homefeed/12/user_tower"
    assert build_key(BuildId("homefeed", 3)) == "builds/homefeed/3"
    assert shard_name(0, 4) == "shard-0-of-4"


def test_the_shards_of_a_build_come_in_order(tmp_path: Path) -> None:
    for name in (*(shard_name(shard, 12) for shard in range(12)), "notes"):
        (tmp_path / name).mkdir()
    assert [folder.name for folder in shard_folders(tmp_path)] == [shard_name(shard, 12) for shard in range(12)]
