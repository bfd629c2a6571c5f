"""Shards that were verified before: opened without reading them while they are untouched, verified anew otherwise."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import retrieval.index.verified_shards as verified_module
import retrieval.index.verify as verify_module
from retrieval.errors import ArtifactError
from retrieval.index import Query
from retrieval.index.metadata import ExpectedShard
from retrieval.index.shard import Shard, open_shard
from retrieval.index.verified_shards import VerifiedShards
from retrieval.index.verify import verify_build
from retrieval.storage import MANIFEST, read_manifest, write_manifest
from tests.chaos.shards import EXPECTED, FILES, make

STEP_S = 0.03  # longer than the steps in which a local file system counts time


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("store"), 1)


@pytest.fixture
def shard(build: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(build / "shard-0-of-2", tmp_path / "shard-0-of-2"))


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were verified in full, in that order."""
    seen: list[Path] = []
    real = verify_module.verify

    def counted(folder: Path, **named: object) -> object:
        seen.append(folder)
        return real(folder, **named)

    monkeypatch.setattr(verify_module, "verify", counted)
    return seen


@pytest.fixture
def verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VerifiedShards:
    monkeypatch.setattr(verified_module, "_SETTLED_NS", int(STEP_S * 1e9))
    return VerifiedShards(tmp_path / "verified")


def opened(folder: Path, verified: VerifiedShards) -> Shard:
    time.sleep(2 * STEP_S)
    return open_shard(folder, EXPECTED, verified=verified)


def refused(folder: Path, verified: VerifiedShards, name: str) -> None:
    time.sleep(2 * STEP_S)
    with pytest.raises(ArtifactError, match=name):
        open_shard(folder, EXPECTED, verified=verified)


def test_the_second_time_no_byte_is_verified(
    shard: Path, verified: VerifiedShards, full: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(shard, verified)
    assert full == [shard]

    def never(*_: object, **__: object) -> None:
        raise AssertionError

    for name in ("inspect", "verify", "check_vectors", "check_answers", "read_golden", "read_canary"):
        monkeypatch.setattr(verify_module, name, never)
    second = opened(shard, verified)
    third = open_shard(shard, EXPECTED, verified=VerifiedShards(verified._folder))  # as another process does
    query = np.ones((1, 8), np.float32) / np.float32(8) ** 0.5
    answers = [one.search(query, [Query(10, exclude=["i3"])])[0] for one in (first, second, third)]
    assert answers[0].item_ids == answers[1].item_ids == answers[2].item_ids
    assert np.array_equal(answers[0].scores, answers[1].scores)
    assert second.fields == ["colour", "number"]
    with pytest.raises(AssertionError):
        open_shard(shard, EXPECTED)


def test_nothing_is_written_into_the_shard(shard: Path, verified: VerifiedShards) -> None:
    before = sorted(shard.rglob("*"))
    opened(shard, verified)
    assert sorted(shard.rglob("*")) == before
    assert len(list(verified._folder.iterdir())) == 1


@pytest.mark.parametrize("name", FILES)
def test_changed_in_place(shard: Path, verified: VerifiedShards, full: list[Path], name: str) -> None:
    opened(shard, verified)
    facts = (shard / name).stat()
    with (shard / name).open("r+b") as file:
        file.seek(facts.st_size // 2)
        byte = file.read(1)[0]
        file.seek(facts.st_size // 2)
        file.write(bytes([byte ^ 4]))
    os.utime(shard / name, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # as one who hides it would
    refused(shard, verified, name)
    assert len(full) == 2
    refused(shard, verified, name)  # still
    assert len(full) == 3


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_truncated_or_gone(shard: Path, verified: VerifiedShards, name: str) -> None:
    opened(shard, verified)
    data = (shard / name).read_bytes()
    (shard / name).write_bytes(data[:-1])
    refused(shard, verified, name)
    (shard / name).unlink()
    refused(shard, verified, name)
    (shard / name).write_bytes(data)
    assert opened(shard, verified).count > 200


@pytest.mark.parametrize("name", FILES)
def test_replaced_by_a_copy_with_the_same_times(
    shard: Path, verified: VerifiedShards, full: list[Path], name: str
) -> None:
    opened(shard, verified)
    shutil.copy2(shard / name, shard.parent / "copy")
    (shard.parent / "copy").replace(shard / name)
    assert opened(shard, verified).count > 200
    assert len(full) == 2
    opened(shard, verified)
    assert len(full) == 2  # the record was renewed


def test_touched(shard: Path, verified: VerifiedShards, full: list[Path]) -> None:
    opened(shard, verified)
    (shard / "vectors.npy").touch()
    opened(shard, verified)
    assert len(full) == 2
    (shard / "vectors.npy").chmod(0o600)
    opened(shard, verified)
    assert len(full) == 3
    opened(shard, verified)
    assert len(full) == 3


def test_a_file_that_was_added(shard: Path, verified: VerifiedShards) -> None:
    opened(shard, verified)
    (shard / "notes.txt").write_text("mine")
    refused(shard, verified, "notes.txt")


def test_sealed_anew(shard: Path, verified: VerifiedShards, full: list[Path]) -> None:
    opened(shard, verified)
    write_manifest(shard, "index_shard", {**read_manifest(shard).facts, "note": 1})
    opened(shard, verified)
    assert len(full) == 2


def test_another_shard_is_expected(shard: Path, verified: VerifiedShards) -> None:
    opened(shard, verified)
    for wanted in (ExpectedShard(build=7), ExpectedShard(space_id="2" * 64), ExpectedShard(digest="0" * 64)):
        with pytest.raises(ArtifactError, match=r"another artifact|not the manifest"):
            open_shard(shard, wanted, verified=verified)


def test_the_folder_of_another_build_moved_in_its_place(shard: Path, verified: VerifiedShards) -> None:
    opened(shard, verified)
    shutil.copytree(shard, shard.parent / "other")
    shutil.rmtree(shard)
    data = bytearray((shard.parent / "other" / "graph.native").read_bytes())
    data[-1] ^= 1
    (shard.parent / "other" / "graph.native").write_bytes(data)
    (shard.parent / "other").rename(shard)
    refused(shard, verified, r"graph\.native")


def records(verified: VerifiedShards) -> Iterator[tuple[Path, bytes]]:
    for path in verified._folder.glob("*.json"):
        yield path, path.read_bytes()


def test_a_damaged_record_is_none(shard: Path, verified: VerifiedShards, full: list[Path]) -> None:
    opened(shard, verified)
    ((path, sound),) = records(verified)
    other = json.dumps({**json.loads(sound), "code_version": "0"}, indent=1, sort_keys=True).encode()
    bits = bytearray(sound)
    bits[len(sound) // 2] ^= 1
    for count, wrong in enumerate((b"", sound[:-1], sound[: len(sound) // 2], b"{}", b"\xff", bytes(bits), other), 2):
        path.write_bytes(wrong)
        opened(shard, verified)
        assert len(full) == count
        assert path.read_bytes() == sound


def test_a_record_that_cannot_be_written_is_no_obstacle(
    shard: Path, verified: VerifiedShards, full: list[Path]
) -> None:
    verified._folder.write_text("a file in its place")
    for _ in range(2):
        assert opened(shard, verified).count > 200
    assert len(full) == 2


def test_a_damaged_shard_is_not_remembered(shard: Path, verified: VerifiedShards) -> None:
    (shard / "graph.hnsw").write_bytes(b"x")
    refused(shard, verified, r"graph\.hnsw")
    assert not list(records(verified))
    opened_before = shard.parent / "none"
    refused(opened_before, verified, "none")


def test_files_that_changed_just_now_are_not_remembered(shard: Path, full: list[Path], tmp_path: Path) -> None:
    """They could change once more within a step of the file system's clock, unseen."""
    unhurried = VerifiedShards(tmp_path / "verified")
    for _ in range(2):
        open_shard(shard, EXPECTED, verified=unhurried)
    assert len(full) == 2
    assert not list(records(unhurried))


def test_files_that_change_while_they_are_verified_are_not_remembered(
    shard: Path, verified: VerifiedShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = verify_module.inspect

    def slowly(*given: object) -> object:
        (shard / "vectors.npy").touch()
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(verify_module, "inspect", slowly)
    opened(shard, verified)
    assert not list(records(verified))


def test_files_that_change_while_they_are_opened_again_are_verified(
    shard: Path, verified: VerifiedShards, full: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(shard, verified)
    real: Callable[..., object] = verify_module.open_parts

    def slowly(*given: object, **named: object) -> object:
        if not named["validate"]:
            data = (shard / "graph.native").read_bytes()
            (shard / "graph.native").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        return real(*given, **named)

    monkeypatch.setattr(verify_module, "open_parts", slowly)
    refused(shard, verified, r"graph\.native")
    assert len(full) == 2


def test_records_of_what_is_gone_are_removed(shard: Path, verified: VerifiedShards, tmp_path: Path) -> None:
    opened(shard, verified)
    moved = shard.rename(tmp_path / "moved")
    opened(moved, verified)
    assert [json.loads(told)["shard"] for _, told in records(verified)] == [str(moved.resolve())]


def test_verifying_a_build_always_reads_it(build: Path, verified: VerifiedShards, full: list[Path]) -> None:
    for number in (0, 1):
        opened_shard = build / f"shard-{number}-of-2"
        time.sleep(2 * STEP_S)
        open_shard(opened_shard, verified=verified)
    full.clear()
    verify_build(build)
    assert len(full) == 3


def test_processes_and_threads_may_verify_at_once(shard: Path, verified: VerifiedShards, full: list[Path]) -> None:
    time.sleep(2 * STEP_S)
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda: counts.append(open_shard(shard, EXPECTED, verified=verified).count))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == 4
    full.clear()
    opened(shard, verified)
    assert not full
